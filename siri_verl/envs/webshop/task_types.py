# SPDX-License-Identifier: Apache-2.0
"""WebShop's task types: five broad kinds of goods, read from the instruction alone."""

from __future__ import annotations

_WORDS: dict[str, str] = {
    "clothing": (
        "shirt|shorts|pant|jean|dress|skirt|sweater|sweatshirt|hoodie|jacket|coat|blazer|vest|sock|shoe|boot|"
        "sneaker|sandal|slipper|pump|loafer|clog|oxford|footwear|underwear|bra|legging|tank|polo|henley|blouse|"
        "tunic|top|swimsuit|bikini|hosiery|activewear|lounge|sleep|suit|tuxedo|overall|jumpsuit|romper|costume|"
        "hat|cap|scarf|glove|belt|wallet|button down|slip-?on"
    ),
    "home": (
        "table|sofa|couch|chair|stool|desk|bed|bedframe|mattress|headboard|ottoman|cabinet|dresser|nightstand|"
        "armoire|bookcase|shelf|shelves|rack|lamp|chandelier|sconce|pendant light|light fixture|vanit|rug|curtain|"
        "blanket|pillow|throw|bedding|duvet|candle|wall art|mirror|window covering|tree|plant|furniture|"
        "kitchen island|storage|home office|living room"
    ),
    "electronics": (
        "tv|television|camera|lens|lense|phone|iphone|tablet|laptop|computer|desktop|monitor|headphone|earbud|"
        "headset|speaker|soundbar|subwoofer|amplifier|receiver|projector|charger|cable|adapter|hdmi|usb|bluetooth|"
        "wireless|router|antenna|battery|batteries|watch band|screen protector|recorder|player|radio|drone|tripod|"
        "monopod|mount|surveillance|scanner|printer|keyboard|mouse|scope|binocular|telescope|console|vr|"
        "virtual reality|mac|flash|turntable|vcr"
    ),
    "beauty": (
        "makeup|cosmetic|palette|lipstick|mascara|eyeliner|foundation|concealer|nail|manicure|skin ?care|"
        "body care|cream|lotion|serum|moisturizer|cleanser|scrub|mask|shampoo|conditioner|hair|wig|beard|shav|"
        "razor|fragrance|perfume|deodorant|antiperspirant|toothpaste|toothbrush|tooth|teeth|tongue|oral|dental|"
        "floss|brush|eyelash|sunscreen|massage|refillable container|cotton swab|swab|bath|essential oil|tattoo"
    ),
    "food": (
        "snack|food|chocolate|candy|candies|cookie|cracker|chip|cereal|granola|bar|nut|almond|fruit|vegetable|"
        "meat|beef|chicken|seafood|fish|cheese|milk|dairy|creamer|beverage|drink|coffee|tea|juice|water|soup|"
        "sauce|spice|seasoning|salt|sugar|syrup|honey|flour|baking|cake|bread|pasta|noodle|rice|bean|raisin|pea|"
        "gift basket|grocery|frozen|meal|protein|powder|gluten free|vegan"
    ),
}

TASK_TYPE_PATTERNS: dict[str, str] = {name: rf"\b(?:{words})(?:e?s)?\b" for name, words in _WORDS.items()}
"""Task type -> regular expression over the instruction. An instruction that matches none is of type `other`. The types
are broad on purpose: a skill needs about 15 to 40 groups of its type before it is decided about."""
