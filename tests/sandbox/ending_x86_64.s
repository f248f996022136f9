.intel_syntax noprefix
push rbx
lea rbx, [rip+65528]
mov rdi, [rbx]
mov rsi, [rbx+8]
xor edx, edx
mov eax, 10
syscall
mov rdi, [rbx+16]
mov rsi, [rbx+24]
xor edx, edx
mov eax, 10
syscall
mov rdi, [rbx+32]
mov rsi, [rbx+40]
mov rdx, rsi
call [rbx+48]
test rax, rax
je 1f
mov edi, 3
lea rsi, [rbx+88]
mov edx, 32
mov eax, 1
syscall
xor edi, edi
mov eax, 231
syscall
1:
sub rsp, 32
lea rdi, [rsp]
lea rsi, [rsp+8]
lea rdx, [rsp+16]
call [rbx+56]
lea rdi, [rsp]
lea rsi, [rsp+8]
lea rdx, [rsp+16]
call [rbx+64]
mov rdi, [rbx+72]
mov rsi, [rsp]
mov rdx, [rsp+8]
xor ecx, ecx
xor eax, eax
call [rbx+80]
mov edi, 1
mov eax, 231
syscall
hlt
