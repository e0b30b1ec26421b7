"""What a row expression may not hold although SQL has it, and why; what to write instead."""

from __future__ import annotations

from typing import Final

_CLOCK: Final = (
    "reads the clock, so that the same row would have another value tomorrow. "
    "Hint: compare with the event's own time, such as days_between(opened, event)"
)
_CHANCE: Final = "is random: the same row would have another value each time"
_ROWS: Final = (
    "looks at more than one row; a row expression sees one. Hint: a `rolling` or `aggregate` view computes over rows"
)
_ORDER: Final = "depends on the order or the place of rows, which is not a property of a row"
_SESSION: Final = "depends on who runs it and where"
_REGULAR: Final = (
    "has regular expressions, which differ between Spark and Arrow. Hint: LIKE, starts_with, ends_with or contains"
)
_LIST: Final = "works on lists, maps and structs, which row expressions do not have"

_NAMES: Final = {
    _CLOCK: "now current_date current_timestamp current_time curdate getdate localtimestamp localtime sysdate "
    "current_timezone unix_timestamp",
    _CHANCE: "rand randn random uuid shuffle randstr uniform",
    _ROWS: "sum avg mean count min max std stddev stddev_pop stddev_samp variance var_pop var_samp median mode first "
    "last first_value last_value any_value collect_list collect_set count_if sum_if approx_count_distinct percentile "
    "percentile_approx approx_percentile corr covar_pop covar_samp kurtosis skewness max_by min_by bool_and bool_or "
    "every any some array_agg listagg string_agg regr_slope regr_r2 histogram_numeric lag lead nth_value ntile "
    "cume_dist percent_rank rank dense_rank row_number try_sum try_avg",
    _ORDER: "monotonically_increasing_id spark_partition_id input_file_name input_file_block_start",
    _SESSION: "current_user user session_user current_role current_catalog current_database current_schema version",
    _REGULAR: "regexp regexp_like regexp_extract regexp_extract_all regexp_replace regexp_count regexp_instr "
    "regexp_substr rlike split",
    _LIST: "array map struct named_struct transform filter exists aggregate reduce forall explode element_at size "
    "from_json to_json get_json_object json_tuple",
}
BY_NAME: Final = {name: reason for reason, names in _NAMES.items() for name in names.split()}

INSTEAD: Final = {
    "power": "pow",
    "log": "ln",
    "ceiling": "ceil",
    "signum": "sign",
    "ifnull": "coalesce",
    "nvl": "coalesce",
    "iff": "if",
    "substr": "substring",
    "left": "substring",
    "char_length": "length",
    "len": "length",
    "ucase": "upper",
    "lcase": "lower",
    "dayofmonth": "day_of_month",
    "day": "day_of_month",
    "weekday": "day_of_week",
    "to_date": "date_of",
    "date": "date_of",
    "date_trunc": "start_of_day",
    "datediff": "days_between",
    "timestampdiff": "seconds_between",
    "width_bucket": "bin",
    "mod": "%",
    "negative": "-",
}
"""Names that other dialects use, and ours."""

BY_KIND: Final = {
    "Window": "a window function " + _ROWS,
    "Filter": "FILTER " + _ROWS,
    "Distinct": "DISTINCT " + _ROWS,
    "Subquery": "a subquery reads other rows. Hint: name a further input of the view, and its columns",
    "Select": "a subquery reads other rows. Hint: name a further input of the view, and its columns",
    "Exists": "a subquery reads other rows. Hint: name a further input of the view, and its columns",
    "Any": "ANY reads other rows",
    "All": "ALL reads other rows",
    "Star": "* stands for all columns. Hint: name the columns",
    "Lambda": "-> works on lists, which row expressions do not have",
    "JSONExtract": "-> works on lists and JSON, which row expressions do not have",
    "Bracket": "[ ] works on lists and maps, which row expressions do not have",
    "Tuple": "a list in parentheses stands behind IN alone",
    "Interval": "INTERVAL is not part of row expressions. Hint: seconds_between and days_between give numbers",
    "RegexpLike": "RLIKE " + _REGULAR,
    "RegexpILike": "RLIKE " + _REGULAR,
    "SimilarTo": "SIMILAR TO " + _REGULAR,
    "ILike": "ILIKE ignores case by rules that differ. Hint: lower(x) LIKE 'a%'",
    "Escape": "ESCAPE is not part of row expressions. Hint: contains takes % and _ as they are",
    "BitwiseXor": "^ is not a power. Hint: pow(x, 2)",
    "IntDiv": "DIV is not part of row expressions. Hint: floor(a / b)",
    "NullSafeEQ": "<=> is not part of row expressions. Hint: a = b OR (a IS NULL AND b IS NULL)",
    "NullSafeNEQ": "IS DISTINCT FROM is not part of row expressions. Hint: a <> b, with IS NULL beside it",
    "Concat": 'two texts side by side. Hint: a text with a quote in it stands between the other quotes: "it\'s"',
    "Parameter": "a parameter cannot be set in a row expression. Hint: write the value",
    "Placeholder": "a parameter cannot be set in a row expression. Hint: write the value",
    "SessionParameter": "a parameter cannot be set in a row expression. Hint: write the value",
    "AtTimeZone": "AT TIME ZONE is not part of row expressions. Hint: hour(event, 'Europe/Berlin')",
    "Collate": "COLLATE is not part of row expressions: texts are compared byte by byte",
    "HexString": "bytes are not a type of row expressions",
    "RawString": "r'...' is not part of row expressions. Hint: write '...'",
    "National": "N'...' is not part of row expressions. Hint: write '...'",
    "Dot": "a function of a schema or a part of a struct is not part of row expressions",
    "Transform": "transform " + _LIST,
}
"""By the name of the parser's node."""
