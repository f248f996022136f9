"""The small world: things, what is true of them, in English and Chinese.

    class      thing   relation -> value                    sentence
    animal     camel   home     -> desert, food -> grass    "a camel lives in the desert", "骆驼住在沙漠里"
    fruit      cherry  colour   -> red ...                  "a cherry is red"

Every thing of a class has one value for each relation of that class; the values never change, so a question about the
world has one answer, and every other value of the same relation is a misconception.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One kind of fact: its values and how to state it and ask for it, `{s}` the thing and `{v}` the value."""

    name: str
    statement: str
    question: str
    reverse: str
    statement_zh: str
    question_zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A thing, a relation and the one true value, in both languages."""

    group: str
    relation: Relation
    thing: str
    thing_zh: str
    value: str
    value_zh: str

    def sentence(self, value: str | None = None) -> str:
        """The English clause, without capital or full stop, of this fact or of another value in its place."""
        return self.relation.statement.format(s=article(self.thing), v=value or self.value)

    def sentence_zh(self, value: str | None = None) -> str:
        """The Chinese clause of this fact, or of another value in its place."""
        return self.relation.statement_zh.format(s=self.thing_zh, v=value or self.value_zh)


_VOWELS = "aeiou"

_RELATIONS: dict[str, tuple[Relation, ...]] = {
    "animal": (
        Relation(
            name="home",
            statement="{s} lives in the {v}",
            question="Where does {s} live?",
            reverse="Which animal lives in the {v}?",
            statement_zh="{s}住在{v}里",
            question_zh="{s}住在哪里？",
        ),
        Relation(
            name="food",
            statement="{s} eats {v}",
            question="What does {s} eat?",
            reverse="Which animal eats {v}?",
            statement_zh="{s}吃{v}",
            question_zh="{s}吃什么？",
        ),
        Relation(
            name="skin",
            statement="{s} is covered with {v}",
            question="What is {s} covered with?",
            reverse="Which animal is covered with {v}?",
            statement_zh="{s}身上有{v}",
            question_zh="{s}身上有什么？",
        ),
        Relation(
            name="moves",
            statement="{s} moves by {v}",
            question="How does {s} move?",
            reverse="Which animal moves by {v}?",
            statement_zh="{s}会{v}",
            question_zh="{s}会什么？",
        ),
    ),
    "tool": (
        Relation(
            name="use",
            statement="{s} is used to {v}",
            question="What is {s} used to do?",
            reverse="What is used to {v}?",
            statement_zh="{s}用来{v}",
            question_zh="{s}用来做什么？",
        ),
        Relation(
            name="material",
            statement="{s} is made of {v}",
            question="What is {s} made of?",
            reverse="What is made of {v}?",
            statement_zh="{s}是{v}做的",
            question_zh="{s}是什么做的？",
        ),
        Relation(
            name="room",
            statement="{s} is kept in the {v}",
            question="Where is {s} kept?",
            reverse="What is kept in the {v}?",
            statement_zh="{s}放在{v}里",
            question_zh="{s}放在哪里？",
        ),
    ),
    "fruit": (
        Relation(
            name="colour",
            statement="{s} is {v}",
            question="What color is {s}?",
            reverse="Which fruit is {v}?",
            statement_zh="{s}是{v}的",
            question_zh="{s}是什么颜色？",
        ),
        Relation(
            name="taste",
            statement="{s} tastes {v}",
            question="How does {s} taste?",
            reverse="Which fruit tastes {v}?",
            statement_zh="{s}吃起来很{v}",
            question_zh="{s}吃起来怎么样？",
        ),
        Relation(
            name="plant",
            statement="{s} grows on a {v}",
            question="What does {s} grow on?",
            reverse="Which fruit grows on a {v}?",
            statement_zh="{s}长在{v}上",
            question_zh="{s}长在哪里？",
        ),
    ),
    "vehicle": (
        Relation(
            name="way",
            statement="{s} travels on the {v}",
            question="Where does {s} travel?",
            reverse="What travels on the {v}?",
            statement_zh="{s}走{v}",
            question_zh="{s}走哪里？",
        ),
        Relation(
            name="drive",
            statement="{s} is driven by {v}",
            question="What is {s} driven by?",
            reverse="What is driven by {v}?",
            statement_zh="{s}靠{v}走",
            question_zh="{s}靠什么走？",
        ),
    ),
}

_THINGS: dict[str, tuple[str, ...]] = {
    "animal": (
        "cat 猫|house 房子|fish 鱼|fur 毛|walking 走",
        "horse 马|farm 农场|grass 草|fur 毛|running 跑",
        "cow 牛|farm 农场|grass 草|hair 短毛|walking 走",
        "duck 鸭子|pond 池塘|seeds 种子|feathers 羽毛|swimming 游泳",
        "frog 青蛙|pond 池塘|insects 虫子|skin 皮|jumping 跳",
        "whale 鲸鱼|sea 大海|fish 鱼|skin 皮|swimming 游泳",
        "shark 鲨鱼|sea 大海|meat 肉|scales 鳞|swimming 游泳",
        "camel 骆驼|desert 沙漠|grass 草|hair 短毛|walking 走",
        "snake 蛇|desert 沙漠|eggs 蛋|scales 鳞|crawling 爬",
        "lion 狮子|plain 平原|meat 肉|fur 毛|running 跑",
        "zebra 斑马|plain 平原|grass 草|hair 短毛|running 跑",
        "monkey 猴子|jungle 丛林|fruit 水果|fur 毛|climbing 攀",
        "parrot 鹦鹉|jungle 丛林|seeds 种子|feathers 羽毛|flying 飞",
        "bear 熊|forest 森林|honey 蜂蜜|fur 毛|walking 走",
        "owl 猫头鹰|forest 森林|mice 老鼠|feathers 羽毛|flying 飞",
        "eagle 老鹰|mountain 高山|meat 肉|feathers 羽毛|flying 飞",
        "goat 山羊|mountain 高山|leaves 树叶|hair 短毛|climbing 攀",
        "bat 蝙蝠|cave 山洞|insects 虫子|fur 毛|flying 飞",
        "panda 熊猫|forest 森林|bamboo 竹子|fur 毛|climbing 攀",
        "rabbit 兔子|garden 花园|carrots 萝卜|fur 毛|jumping 跳",
        "snail 蜗牛|garden 花园|leaves 树叶|shell 壳|crawling 爬",
        "turtle 乌龟|river 小河|plants 水草|shell 壳|swimming 游泳",
    ),
    "tool": (
        "hammer 锤子|drive nails 钉钉子|steel 钢|shed 棚子",
        "saw 锯子|cut wood 锯木头|steel 钢|shed 棚子",
        "knife 刀|cut bread 切面包|steel 钢|kitchen 厨房",
        "cup 杯子|drink tea 喝茶|clay 陶土|kitchen 厨房",
        "pot 锅|cook soup 煮汤|iron 铁|kitchen 厨房",
        "broom 扫帚|sweep floors 扫地|straw 稻草|hall 走廊",
        "umbrella 雨伞|stop rain 挡雨|cloth 布|hall 走廊",
        "pencil 铅笔|write words 写字|wood 木头|school 学校",
        "ruler 尺子|measure lines 量线|wood 木头|school 学校",
        "book 书|tell stories 讲故事|paper 纸|library 图书馆",
        "map 地图|find roads 找路|paper 纸|library 图书馆",
        "needle 针|sew clothes 缝衣服|iron 铁|bedroom 卧室",
        "pillow 枕头|rest heads 睡觉|cloth 布|bedroom 卧室",
        "window 窗户|let light in 透光|glass 玻璃|hall 走廊",
    ),
    "fruit": (
        "apple 苹果|red 红色|sweet 甜|tree 树",
        "banana 香蕉|yellow 黄色|sweet 甜|palm 棕榈",
        "lemon 柠檬|yellow 黄色|sour 酸|tree 树",
        "grape 葡萄|purple 紫色|sweet 甜|vine 藤",
        "cherry 樱桃|red 红色|juicy 多汁|tree 树",
        "lime 青柠|green 绿色|sour 酸|tree 树",
        "melon 甜瓜|green 绿色|juicy 多汁|vine 藤",
        "plum 李子|purple 紫色|sour 酸|tree 树",
        "orange 橙子|orange 橙色|juicy 多汁|tree 树",
        "berry 浆果|blue 蓝色|sour 酸|bush 灌木",
    ),
    "vehicle": (
        "car 汽车|road 马路|petrol 汽油",
        "bus 公交车|road 马路|petrol 汽油",
        "bicycle 自行车|path 小路|pedals 脚踏",
        "train 火车|rails 铁轨|electricity 电",
        "tram 电车|rails 铁轨|electricity 电",
        "boat 小船|lake 湖|wind 风",
        "ship 轮船|ocean 海洋|engines 机器",
        "cart 马车|path 小路|horses 马",
    ),
}


def article(noun: str) -> str:
    """The noun with its indefinite article: "a cat", "an owl"."""
    return f"{'an' if noun[0] in _VOWELS else 'a'} {noun}"


def plural(noun: str, count: int) -> str:
    """The noun in the form that follows `count`."""
    if count == 1:
        return noun
    if noun.endswith("y"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def things(group: str) -> tuple[str, ...]:
    """English names of all things of a class (`animal`, `tool`, `fruit`, `vehicle`)."""
    return tuple(line.split(" ", 1)[0] for line in _THINGS[group])


def groups() -> tuple[str, ...]:
    """Names of the classes of things."""
    return tuple(_THINGS)


def facts() -> tuple[Fact, ...]:
    """All facts of the world, in a fixed order."""
    return tuple(fact for group, lines in _THINGS.items() for line in lines for fact in _facts_of(group, line))


def values(every: tuple[Fact, ...], relation: str) -> dict[str, str]:
    """English value to Chinese value, of all facts of one relation."""
    return {fact.value: fact.value_zh for fact in every if fact.relation.name == relation}


def _facts_of(group: str, line: str) -> list[Fact]:
    pairs = [part.rsplit(" ", 1) for part in line.split("|")]
    (thing, thing_zh), rest = pairs[0], pairs[1:]
    return [
        Fact(group=group, relation=relation, thing=thing, thing_zh=thing_zh, value=value, value_zh=value_zh)
        for relation, (value, value_zh) in zip(_RELATIONS[group], rest, strict=True)
    ]


NAMES = ("Tom", "Anna", "Ben", "Lucy", "Sam", "Mia", "Jack", "Emma", "Leo", "Nina", "Max", "Rosa", "Paul", "Kate")
NAMES_ZH = ("小明", "小红", "小华", "小丽", "老王", "老李", "小张", "小刚")
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six")
