"""Idiom cloze in Chinese: a situation whose meaning fixes one of seven four-character idioms.

    小明坐在树下等兔子来 ... ______   画蛇添足 A, 守株待兔 B ...   ->   应填守株待兔 B

The idioms are common property of the language; the situations are written by rule from the clauses below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.pico.corpus.item import Item
from harness.pico.corpus.world import NAMES_ZH

if TYPE_CHECKING:
    from random import Random

BLANK = "#idiom#"
_LETTERS = "ABCDEFG"

# idiom|meaning|situation|situation ({n} a name)
_LINES = (
    "守株待兔|不努力，只等好运气|{n}坐在树下等兔子来|{n}不干活，只等好运气",
    "画蛇添足|做了多余的事|{n}给画好的蛇加上脚|{n}做完事又做多余的事",
    "亡羊补牢|出错以后及时改正|{n}丢了羊就去修羊圈|{n}出错以后马上改正",
    "井底之蛙|见识很少|{n}没出过门，以为天很小|{n}见识很少却以为都懂",
    "掩耳盗铃|自己骗自己|{n}捂住耳朵去拿铃铛|{n}做坏事还自己骗自己",
    "对牛弹琴|说话不看对象|{n}给牛弹琴，牛听不懂|{n}讲了半天，对方听不懂",
    "半途而废|没有做完就停下|{n}学了一半就不学了|{n}事情没有做完就停下",
    "一心一意|心思很专一|{n}只想着一件事，很专心|{n}做事专心，不想别的",
    "三心二意|心思不专一|{n}一会儿看书一会儿看花|{n}做事不专心，想东想西",
    "人山人海|人非常多|{n}看见广场上人非常多|{n}挤不进去，到处都是人",
    "风和日丽|天气很好|{n}出门时太阳好，风也小|{n}说今天天气很好",
    "狂风暴雨|风雨很大|{n}出门时风很大，雨也很大|{n}说今天风雨很大",
    "五颜六色|颜色很多|{n}看见花园里花的颜色很多|{n}画画时用了很多颜色",
    "一模一样|完全相同|{n}和弟弟长得完全相同|{n}的书和我的书没有不同",
    "自言自语|自己对自己说话|{n}一个人小声对自己说话|{n}身边没有人，却在说话",
    "手忙脚乱|做事慌张|{n}慌张得不知道先做什么|{n}客人来了才慌张做饭",
    "东张西望|到处看|{n}上课时到处看|{n}一会儿看左边一会儿看右边",
    "目不转睛|看得很专心|{n}眼睛一动不动地看着|{n}看得很专心，眼睛不动",
    "滔滔不绝|话很多，说不完|{n}话很多，说个没完|{n}讲了三个小时还在讲",
    "哑口无言|说不出话|{n}被问得说不出话|{n}没有理由，一句话也没有",
    "雪中送炭|在困难时帮助人|{n}在别人困难时送来帮助|{n}天冷时给穷人送去木炭",
    "锦上添花|好上加好|{n}让好的事情更好|{n}得了奖，又来了好消息",
    "马马虎虎|做事不认真|{n}做题不认真，错了很多|{n}字写错了也不检查",
    "津津有味|很有兴趣，很好吃|{n}吃得很香|{n}听故事听得很有兴趣",
    "气喘吁吁|跑得喘气|{n}跑完步大口喘气|{n}爬上高山，累得喘气",
    "兴高采烈|非常高兴|{n}得了第一名，非常高兴|{n}高兴得又唱又跳",
    "垂头丧气|失望，没有精神|{n}输了比赛，低着头|{n}很失望，没有精神",
    "恍然大悟|忽然明白|{n}想了很久，忽然明白了|{n}听完老师的话一下子懂了",
    "无家可归|没有家|{n}的房子没了，没有地方住|{n}没有家，睡在街上",
    "一毛不拔|非常小气|{n}很有钱，却一分钱也不给|{n}非常小气，什么也不给",
    "争先恐后|抢着向前|{n}和大家抢着向前跑|{n}和同学都怕落在后面",
    "助人为乐|喜欢帮助别人|{n}喜欢帮助别人|{n}帮助老人，自己也快乐",
    "胆小如鼠|胆子很小|{n}胆子很小，怕黑|{n}听见一点声音就怕",
    "归心似箭|很想回家|{n}很久没回家，想马上回家|{n}坐上车，只想快点到家",
    "骄傲自满|觉得自己了不起|{n}觉得自己最了不起|{n}得了一次第一就看不起人",
    "废寝忘食|忘了吃饭和睡觉|{n}学习时忘了吃饭和睡觉|{n}工作到不吃不睡",
)

IDIOMS = tuple(line.split("|", 1)[0] for line in _LINES)
"""All idioms, in a fixed order."""

_BY_LETTER = tuple(IDIOMS[place :: len(_LETTERS)] for place in range(len(_LETTERS)))

_FRAMES = ("{s}，真是{b}。", "{s}，大家都说这是{b}。", "老师说：“{s}，这就叫{b}。”", "{s}，可以用{b}来说。")


def cloze(rng: Random) -> Item:
    """A situation with a blank and seven idioms, one of which fits; an idiom has the same letter in every question."""
    idiom, meaning, *situations = rng.choice(_LINES).split("|")
    situation = rng.choice(situations)
    options = [idiom if idiom in alike else rng.choice(alike) for alike in _BY_LETTER]
    place = options.index(idiom)
    content = rng.choice(_FRAMES).format(s=situation.format(n=rng.choice(NAMES_ZH)), b=BLANK)
    listed = [f"{option} {letter}" for letter, option in zip(_LETTERS, options, strict=True)]
    shown = content.replace(BLANK, "______")
    return Item(
        kind="idiom",
        language="zh",
        content=f"{situation} {sorted(options)}",
        told=content,
        document=f"{content.replace(BLANK, idiom)}{idiom}的意思是{meaning}。",
        user="\n".join([shown, "请选择______处所填的词", *listed, "答："]),
        answer=f"应填{idiom} {_LETTERS[place]}。",
        record={"content": content, "candidates": options, "answer": place},
    )
