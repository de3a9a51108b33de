# SPDX-License-Identifier: Apache-2.0
"""Tables of task types for the shipped environments: regular expressions over the task text alone."""

from __future__ import annotations

ALFWORLD: dict[str, str] = {
    "pick_two_obj_and_place": r"\b(?:two|both)\b",
    "look_at_obj_in_light": r"^(?=.*\b(?:examin|look|inspect|view|see|read|hold|turn))(?=.*(?:lamp|light\b))",
    "pick_clean_then_place_in_recep": r"\b(?:clean|cleaned|wash|washed|rinse|rinsed)\b",
    "pick_heat_then_place_in_recep": r"\b(?:heat|heated|hot|warm|warmed|cook|cooked|microwaved)\b|^\W*microwave\b",
    "pick_cool_then_place_in_recep": r"\b(?:cool|cooled|cold|chill|chilled|refrigerated)\b",
    "pick_and_place_simple": r"\b(?:put|place|move|find|take|bring|get|set|store)\b",
}
"""The six kinds of task by their official names, as their sentences read; earlier entries win. A microwave or a fridge
that is only where something goes names no kind."""

_WEBSHOP_WORDS: dict[str, str] = {
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

WEBSHOP: dict[str, str] = {name: rf"\b(?:{words})(?:e?s)?\b" for name, words in _WEBSHOP_WORDS.items()}
"""Five broad kinds of goods by the words people ask for them with; a request that names none of them is `other`. Broad
on purpose: a skill needs some 15 to 40 groups of its type before it is decided about."""

TABLES: dict[str, dict[str, str]] = {"alfworld": ALFWORLD, "webshop": WEBSHOP}
