"""kuairec_caption_category.csv: generated Chinese captions and topics that match the categories."""

from __future__ import annotations

import numpy as np
import polars as pl

from twotower.datasets.synthetic import figures
from twotower.datasets.synthetic.deal import Ints, deal
from twotower.datasets.synthetic.items import Items
from twotower.datasets.synthetic.plan import Plan

# One everyday word a first-level category; the words of its captions and sub-categories are built on it.
# fmt: off
_SUBJECTS = (
    "旅行", "舞蹈", "唱歌", "游戏", "化妆", "穿搭", "明星", "篮球", "街拍", "搞笑", "风景", "日常",
    "美食", "种田", "课堂", "画画", "养生", "小狗", "汽车", "恋爱", "动漫", "历史", "理财", "奇闻",
    "星座", "宝宝", "照片", "手机", "新闻", "科普", "追剧", "健身", "小剧场", "自拍", "随手拍", "军迷",
    "装修", "读书",
)
_ASPECTS = (
    "日常", "教程", "分享", "互动", "现场", "合集", "测评", "技巧", "故事",
    "挑战",
)
_OPENINGS = (
    "今天", "周末", "终于", "原来", "谁懂啊", "我家", "第一次", "没想到", "听说", "每天", "朋友",
    "大家",
)
_MIDDLES = (
    "试试", "看看", "记录一下", "学会了", "爱上了", "再来一次", "慢慢来", "坚持下去", "告诉你",
    "说走就走", "真不容易", "太好玩了",
)
_ENDINGS = ("！", "～", "...", "，你觉得呢？", "❤️", "🔥", "。", ", 记得点赞", "，越看越喜欢！")
_GENERAL_TOPICS = (
    "上热门", "作品推广", "高清视频", "记录生活", "新人报到", "一起来玩", "夏天到了",
    "正能量",
)
# fmt: on


def caption_category(rng: np.random.Generator, plan: Plan, items: Items) -> pl.DataFrame:
    """Return the captions, cover texts, topics and three category levels of all videos.

    Ids and names of unknown categories are -124 / UNKNOWN; four captions contain a bare carriage return.
    """
    n = plan.videos
    topics = _topics(rng, plan, items)
    captions = _captions(rng, plan, items, topics)
    covers = np.array([_phrase(rng, items.levels[0][video]) for video in range(n)], dtype=object)
    covers[rng.permutation(n)[: plan.of_videos(figures.UNKNOWN_COVERS)]] = "UNKNOWN"
    columns: dict[str, object] = {
        "video_id": np.arange(n),
        "manual_cover_text": covers.tolist(),
        "caption": captions,
        "topic_tag": ["[" + ",".join(sorted(video_topics)) + "]" for video_topics in topics],
    }
    sizes = (figures.FIRST_LEVELS, figures.SECOND_LEVELS, figures.THIRD_LEVELS)
    # Ids of the first level are those of the tags; ids of the deeper levels start higher, to avoid confusion.
    for name, codes, size, first_id in zip(
        ("first", "second", "third"), items.levels, sizes, (0, 100, 1000), strict=True
    ):
        columns[f"{name}_level_category_id"] = np.where(
            codes < 0, -124, codes * (7 if first_id else 1) + first_id
        )
        columns[f"{name}_level_category_name"] = [_level_name(code, size) for code in codes.tolist()]
    return pl.DataFrame(columns)


def _level_name(code: int, size: int) -> str:
    if code < 0:
        return "UNKNOWN"
    subject = _SUBJECTS[code * figures.FIRST_LEVELS // size]
    if size == figures.FIRST_LEVELS:
        return subject
    number = code - -(-(code * figures.FIRST_LEVELS // size) * size // figures.FIRST_LEVELS)
    return subject + _ASPECTS[number % len(_ASPECTS)] + ("" if size == figures.SECOND_LEVELS else "类")


def _topics(rng: np.random.Generator, plan: Plan, items: Items) -> list[list[str]]:
    """Return each video's hashtags: on its category, or general ones that ask for attention."""
    topics = []
    for video, size in enumerate(deal(rng, figures.TOPICS_A_VIDEO, plan.videos).tolist()):
        subject = _SUBJECTS[items.levels[0][video]]
        own = [subject + aspect for aspect in _ASPECTS] + list(_GENERAL_TOPICS)
        topics.append([own[k] for k in rng.choice(len(own), size=size, replace=False).tolist()])
    return topics


def _captions(rng: np.random.Generator, plan: Plan, items: Items, topics: list[list[str]]) -> list[str]:
    captions = []
    for video, video_topics in enumerate(topics):
        phrases = [_phrase(rng, items.levels[0][video]) for _ in range(int(rng.integers(1, 4)))]
        captions.append(
            " ".join([*phrases, *(f"#{topic}" for topic in video_topics)]) + " " * bool(video_topics)
        )
    # Videos without topics are the first to have no caption, as topics are extracted from captions.
    bare = rng.permutation([video for video, video_topics in enumerate(topics) if not video_topics])
    for video in bare[: plan.of_videos(figures.EMPTY_CAPTIONS)].tolist():
        captions[video] = ""
    for video in figures.CARRIAGE_RETURN_VIDEOS:
        if video < plan.videos:
            captions[video] = _phrase(rng, items.levels[0][video]) + "\r "
    return captions


def _phrase(rng: np.random.Generator, category: Ints) -> str:
    opening, middle, ending = (
        words[int(rng.integers(len(words)))] for words in (_OPENINGS, _MIDDLES, _ENDINGS)
    )
    return opening + _SUBJECTS[int(category)] + middle + ending
