"""SQL keywords that are not functions, and functions that read no table and have a fixed result."""

from __future__ import annotations

from django.conf import settings

SYNTAX = frozenset(
    """
    all and any array as asc between bigint bit blob boolean both by case cast char character check
    collate cross cube decimal desc distinct double else end escape except exists extract false
    fetch filter first float for from full glob group grouping groups having if ilike in inner int
    integer intersect interval into is isnull join key last lateral leading left like limit
    materialized natural not notnull null nulls number numeric nvarchar offset on only or order
    outer over overlaps partition position precision preceding range real recursive regexp respect
    returning right rlike row rows select separator set sets signed similar smallint some symmetric
    table text then ties timestamp to trailing true tuple unbounded union unsigned using value
    values varbinary varchar varying when where window with within without xor zone
""".split()  # noqa: SIM905 - it reads better than a hundred quotes
)
"""Words before a parenthesis that are not functions, or whose arguments are checked anyway."""

_FIXED_FUNCTIONS = frozenset(
    """
    abs acos acosh age akeys any_value array_agg array_append array_cat array_length array_position
    array_remove array_to_string ascii asin asinh atan atan2 atanh avals avg bit_and bit_length
    bit_or bit_xor bool_and bool_or btrim cardinality ceil ceiling char_length character_length chr
    coalesce collate concat concat_ws convert corr cos cosh cot count covar_pop covar_samp crc32
    cume_dist date date_add date_format date_part date_sub date_trunc datediff datetime dayofmonth
    dayofweek dayofyear decode degrees dense_rank div encode every exp field find_in_set first_value
    floor format from_unixtime generate_series greatest group_concat hex hour ifnull iif initcap
    instr isempty json json_agg json_array json_array_length json_arrayagg json_build_array
    json_build_object json_contains json_each json_extract json_extract_path json_extract_path_text
    json_group_array json_group_object json_keys json_length json_object json_object_agg
    json_objectagg json_quote json_remove json_set json_tree json_type json_typeof json_unquote
    json_valid json_value jsonb_agg jsonb_array_elements jsonb_array_elements_text
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text
    jsonb_extract_path jsonb_extract_path_text jsonb_object_agg jsonb_path_exists jsonb_set
    jsonb_typeof julianday justify_days justify_hours justify_interval lag last_value lcase lead
    least length levenshtein ln locate log log10 log2 lower lower_inc lower_inf lpad ltrim make_date
    make_interval make_time make_timestamp max md5 microsecond mid min minute mod mode month mul
    nth_value ntile nullif nvl octet_length ord overlay percent_rank percentile_cont percentile_disc
    phraseto_tsquery pi plainto_tsquery pow power printf quarter quote quote_ident quote_literal
    radians rank regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse round
    row_number row_to_json rpad rtrim second setweight sha sha1 sha2 sha224 sha256 sha384 sha512
    sign similarity sin sinh soundex split_part sqrt starts_with std stddev stddev_pop stddev_samp
    strftime strict_word_similarity string_agg string_to_array strip_tags strpos substr substring
    substring_index subtime sum tan tanh timediff timestampadd timestampdiff timezone to_char
    to_date to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector total translate trim
    trunc truncate ts_headline ts_rank ts_rank_cd typeof ucase unaccent unhex unicode unixepoch
    unnest upper upper_inc upper_inf var_pop var_samp variance websearch_to_tsquery week weekday
    width_bucket word_similarity year yearweek zeroblob
""".split()  # noqa: SIM905 - as above
)
_FIXED_PREFIXES = ("django_", "st_")
"""Prefixes of the functions that Django defines in SQLite, and of PostGIS and similar ones."""

VOLATILE = frozenset(
    {
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "sysdate",
        "systimestamp",
    }
)
"""Functions without a fixed result that need no parentheses."""

RELATIVE_TIMES = frozenset({"now", "today", "tomorrow", "yesterday"})
"""Strings that databases read as a time relative to now."""

WRITES = frozenset({"delete", "insert", "merge", "update"})


_MIN_ARGUMENTS = {
    "age": 2,
    "date": 1,
    "datetime": 1,
    "julianday": 1,
    "strftime": 2,
    "time": 1,
    "unixepoch": 1,
}
"""How many arguments a date function needs; with fewer its result is the current time."""


def is_fixed(function: str, arguments: int) -> bool:
    """Return whether a function, given in lower case, reads no table and has a fixed result."""
    known = (
        function in _FIXED_FUNCTIONS
        or function.startswith(_FIXED_PREFIXES)
        or function in _declared_functions()
    )
    return known and arguments >= _MIN_ARGUMENTS.get(function, 0)


def _declared_functions() -> set[str]:
    """Return the functions that `CACHEOPS_ROVER_FIXED_FUNCTIONS` declares to be fixed."""
    return {
        str(name).casefold() for name in getattr(settings, "CACHEOPS_ROVER_FIXED_FUNCTIONS", ())
    }
