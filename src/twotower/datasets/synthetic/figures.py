"""Statistics of the real KuaiRec 2.0 files, to which the generator is calibrated.

Sources: the data set's README and statistics notebook (Gao et al., KuaiRec, CIKM 2022), the published
user_features, item_categories and kuairec_caption_category files, and a 117,113-cell sample of the small
matrix. A curve is a pair of equally long tuples (probabilities, quantiles).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

Curve = tuple[tuple[float, ...], tuple[float, ...]]

# --- sizes at scale 1 -------------------------------------------------------------------------------------
USERS: Final = 7_176
VIDEOS: Final = 10_728
SMALL_USERS: Final = 1_411
SMALL_USER_RANGE: Final = (14, 7_162)
SMALL_VIDEOS: Final = 3_327
SMALL_VIDEO_RANGE: Final = (103, 10_595)
BIG_ROWS: Final = 12_530_806
"""Rows of big_matrix.csv, including duplicates."""
EXACT_COPIES: Final = 965_819
NEAR_COPIES: Final = 2_186
"""Rows that repeat another row's (user, video, timestamp) with another play_duration."""
DATE_DISAGREES: Final = 15_530
"""Rows of big whose `date` (the log's partition) isn't the local date of `time`."""
SMALL_ROWS: Final = 4_676_570
SMALL_UNTIMED: Final = 181_992
DAILY_ROWS: Final = 343_341
SOCIAL_ROWS: Final = 472
AUTHORS: Final = 8_370

# --- days -------------------------------------------------------------------------------------------------
FIRST_DAY: Final = date(2020, 7, 5)
N_DAYS: Final = 63
UTC_OFFSET_HOURS: Final = 8
BIG_WINDOWS: Final = ((0, 8), (27, 37), (53, 63))
"""Day numbers (0 = FIRST_DAY) of the three windows of big: 07-05..12, 08-01..10, 08-27..09-05."""
COPIED_DAYS: Final = (31, 57)
"""The partitions 08-05 and 08-31, which are in the real file twice."""
HOUR_OF_DAY: Final[Curve] = (
    (0.0, 0.04, 0.06, 0.09, 0.16, 0.30, 0.42, 0.55, 0.67, 0.82, 0.93, 1.0),
    (0.0, 1.0, 2.0, 6.0, 8.0, 11.0, 13.0, 16.0, 18.5, 21.0, 23.0, 24.0),
)

# fmt: off
# --- watching ---------------------------------------------------------------------------------------------
_PLAY_P = (
    0.0, 0.003, 0.0068, 0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.35, 0.50, 0.65, 0.75, 0.85, 0.90,
    0.95, 0.98, 0.99, 0.995, 0.999, 0.9999, 0.99999, 0.999999, 1.0,
)
# People watch about 7.5 s whatever the length, so play seconds are drawn independently and determine the
# ratio. The curves were fitted to give the published mean, quantiles and shares of the ratio.
PLAY_SECONDS_BIG: Final[Curve] = (
    _PLAY_P,
    (
        0.0001, 0.0002, 0.05, 0.08, 0.203, 0.6, 1.26, 2.32, 3.72, 4.66, 6.141, 8.092, 8.839, 10.441,
        12.5, 15.4, 20.6, 29.3, 40.2, 56.0, 127.0, 380.0, 1400.0, 3000.0, 6500.0,
    ),
)
PLAY_SECONDS_SMALL: Final[Curve] = (
    _PLAY_P,
    (
        0.0001, 0.0002, 0.2, 0.5, 1.115, 2.086, 3.865, 5.1, 5.6, 5.996, 6.7, 7.446, 8.8, 9.755, 11.26,
        12.323, 15.18, 20.878, 27.404, 37.737, 87.31, 290.0, 1400.0, 3000.0, 6500.0,
    ),
)
VIDEO_SECONDS: Final[Curve] = (
    (0.0, 0.001, 0.004, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.88, 0.94, 0.975, 0.99, 0.998, 1.0),
    (1.2, 2.7, 3.7, 4.9, 5.8, 6.25, 7.4, 9.6, 12.2, 19.8, 32.2, 64.5, 104.5, 189.0, 315.0),
)
"""Duration of the videos in seconds, weighted by the rows of big."""
VIDEO_SECONDS_SMALL: Final[Curve] = (
    (0.0, 0.001, 0.004, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.88, 0.94, 0.975, 0.99, 0.998, 1.0),
    (1.2, 2.7, 3.7, 4.9, 5.8, 6.3, 7.5, 9.6, 11.9, 18.5, 31.0, 62.0, 102.0, 189.0, 315.0),
)
# fmt: on
CORRUPT_PLAY_MS: Final = 80_284
CORRUPT_VIDEO_MS: Final = 140
SMALL_LOOP_RATIO: Final = 571.52
"""The largest ratio of small, a real loop of 2.2 h; all other ratios of both files are below 500."""
LARGEST_RATIO: Final = 500.0
VARYING_DURATION_SHARE: Final = 1 / 3

# Variance shares of the standard normal that decides the play time. The shares of the *rank* within a
# duration bucket are about 0.95 times these: user 10%, item 8.5%.
USER_SHARE: Final = 0.105
ITEM_SHARE: Final = 0.090
INTERACTION_SHARE: Final = 0.060

# --- exposure ---------------------------------------------------------------------------------------------
ROWS_A_USER: Final[Curve] = (
    (0.0, 0.10, 0.25, 0.50, 0.75, 0.90, 0.99, 0.999, 1.0),
    (100, 280, 883, 1846, 2461, 2912, 4021, 7500, 16_015),
)
ROWS_A_VIDEO: Final[Curve] = (
    (0.0, 0.10, 0.25, 0.50, 0.65, 0.75, 0.82, 0.90, 0.96, 0.99, 0.999, 1.0),
    (6, 25, 70, 228, 664, 1546, 2902, 4101, 4184, 4455, 7056, 24_173),
)
"""Rows per video without duplicates: mean 1,078, top 1% 6% and top 10% 41% of rows, Gini .68."""

# --- users ------------------------------------------------------------------------------------------------
ACTIVE_DEGREE: Final = {"middle_active": 28, "UNKNOWN": 118, "high_active": 938, "full_active": 6_092}
LOWACTIVE: Final = 3
LIVE_STREAMERS: Final = 49
VIDEO_AUTHORS: Final = 1_217
FOLLOW: Final[Curve] = (
    (0.0, 0.01, 0.05, 0.10, 0.25, 0.40, 0.50, 0.60, 0.75, 0.85, 0.90, 0.95, 0.99, 1.0),
    (0, 1, 2, 3, 9, 20, 33, 55, 130, 294, 569, 1_409, 1_999, 2_100),
)
FANS: Final[Curve] = (
    (0.0, 0.299, 0.40, 0.50, 0.60, 0.75, 0.85, 0.90, 0.95, 0.99, 0.997, 0.9995, 1.0),
    (0, 0.5, 1, 2, 3, 6, 11, 14, 23, 107, 374, 3_000, 11_401),
)
FRIENDS: Final[Curve] = (
    (0.0, 0.605, 0.65, 0.75, 0.80, 0.85, 0.90, 0.95, 0.99, 0.997, 1.0),
    (0, 0.5, 0.6, 1.4, 2, 3, 5, 11, 49, 187, 1_425),
)
REGISTER_DAYS: Final[Curve] = (
    (0.0, 0.01, 0.02, 0.05, 0.10, 0.25, 0.50, 0.60, 0.75, 0.80, 0.85, 0.90, 0.95, 0.99, 1.0),
    (8, 20, 32, 50, 70, 132, 225, 271, 324, 347, 390, 597, 955, 1_494, 2_245),
)
ONEHOT_SIZES: Final = (2, 8, 30, 1_076, 12, 10, 3, 47, 340, 7, 5, 3, 2, 2, 2, 2, 2, 2)
ONEHOT_COUNTS: Final[dict[int, tuple[int, ...]]] = {
    0: (4361, 2815),
    1: (3, 3082, 736, 949, 1096, 483, 825, 2),
    4: (2055, 3257, 1195, 314, 78, 44, 20, 5, 4, 2, 0, 1),
    5: (7160, 1, 1, 2, 1, 2, 5, 1, 2, 1),
    6: (3120, 4040, 16),
    9: (18, 1108, 582, 1352, 1138, 1250, 1728),
    10: (812, 1, 3761, 1682, 920),
    11: (6665, 38, 473),
    12: (4978, 2121),
    13: (6358, 743),
    14: (6428, 673),
    15: (6970, 132),
    16: (6975, 127),
    17: (6999, 103),
}
ONEHOT_EMPTY: Final = {4: 201, 12: 77, 13: 75, 14: 75, 15: 74, 16: 74, 17: 74}

# --- videos -----------------------------------------------------------------------------------------------
TAGS_A_VIDEO: Final = (8_970, 1_562, 185, 11)
"""Videos with 1, 2, 3, 4 tags."""
# fmt: off
TAG_COUNTS: Final = (
    24, 463, 216, 104, 164, 964, 912, 503, 1112, 696, 170, 2027, 534, 245, 63, 374, 214, 350, 131, 686,
    265, 29, 20, 39, 12, 468, 490, 31, 1360, 5, 22,
)
# fmt: on
FIRST_LEVELS: Final = 38
SECOND_LEVELS: Final = 137
THIRD_LEVELS: Final = 219
UNKNOWN_LEVELS: Final = (40, 3_583, 6_832)
"""Videos whose category of level 1, 2, 3 is -124 / UNKNOWN (an id in addition to those above)."""
FIRST_LEVEL_IS_TAG: Final = 0.67
EMPTY_CAPTIONS: Final = 1_355
UNKNOWN_COVERS: Final = 6_694
TOPICS_A_VIDEO: Final = (4611, 1488, 1164, 989, 712, 1645, 106, 8, 2, 3)
CARRIAGE_RETURN_VIDEOS: Final = (1378, 1613, 5910, 6331)

# --- daily counts -----------------------------------------------------------------------------------------
AD_VIDEOS: Final = 29
DAILY_EMPTY_DURATION: Final = 10_598
DAILY_EMPTY_TAG_NAME: Final = 32_434
DAILY_EMPTY_COLLECT: Final = 69_683
UPLOAD_TYPES: Final = {
    "ShortImport": 0.588,
    "LongImport": 0.105,
    "ShortCamera": 0.082,
    "LongCamera": 0.055,
    "PictureSet": 0.045,
    "LongPicture": 0.030,
    "Web": 0.022,
    "Kmovie": 0.018,
    "PhotoCopy": 0.012,
    "ShareFromOtherApp": 0.010,
    "SameFrame": 0.008,
    "FollowShoot": 0.007,
    "PictureCopy": 0.006,
    "Karaoke": 0.004,
    "LipsSync": 0.003,
    "FlashPhoto": 0.002,
    "SolitaireShoot": 0.002,
    "UNKNOWN": 0.001,
}
SHOW_COUNT: Final[Curve] = (
    (0.0, 0.12, 0.25, 0.50, 0.75, 0.90, 0.99, 1.0),
    (0, 0.4, 55, 1_328, 24_190, 170_000, 1_900_000, 20_000_000),
)
PLAY_COUNT: Final[Curve] = (
    (0.0, 0.15, 0.25, 0.50, 0.75, 0.90, 0.99, 1.0),
    (0, 0.4, 14, 628, 20_671, 150_000, 1_700_000, 18_000_000),
)
LIKE_COUNT: Final[Curve] = (
    (0.0, 0.27, 0.50, 0.75, 0.90, 0.99, 1.0),
    (0, 0.4, 9, 421, 4_500, 60_000, 900_000),
)
PLAY_PROGRESS: Final[Curve] = (
    (0.0, 0.06, 0.25, 0.50, 0.75, 0.95, 1.0),
    (0.0, 0.0, 0.12, 0.35, 0.64, 0.92, 1.0),
)


def calendar() -> list[date]:
    """Return the 63 days covered by the files, in order."""
    return [FIRST_DAY + timedelta(days=number) for number in range(N_DAYS)]
