adr x19, #65536
ldp x0, x1, [x19]
mov x2, #0
mov x8, #226
svc #0
ldp x0, x1, [x19, #16]
mov x2, #0
mov x8, #226
svc #0
ldp x0, x1, [x19, #32]
mov x2, x1
ldr x9, [x19, #48]
blr x9
cbz x0, 1f
mov x0, #3
add x1, x19, #88
mov x2, #32
mov x8, #64
svc #0
mov x0, #0
mov x8, #94
svc #0
1:
sub sp, sp, #32
mov x0, sp
add x1, sp, #8
add x2, sp, #16
ldr x9, [x19, #56]
blr x9
mov x0, sp
add x1, sp, #8
add x2, sp, #16
ldr x9, [x19, #64]
blr x9
ldr x0, [x19, #72]
ldp x1, x2, [sp]
mov x3, #0
ldr x9, [x19, #80]
blr x9
mov x0, #1
mov x8, #94
svc #0
brk #0
