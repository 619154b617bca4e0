"""Tables of the read model, and the SQL that keeps what follows from others.

`scores` has each score of the history once, as the view `score_movements` does, beside its predecessor in commit order;
`listed` the newest row of each account, a tombstone too, with what is filtered and sorted by; `accounts` the mirror;
`names` an index of the words of its names; `compared` the score that each account had so many days ago.
"""

from typing import Final

NEWEST_FIRST: Final = "committed DESC, sequence DESC, is_tombstone DESC, scored DESC, score_id"
"""Commit order, as in `schemas.views.NEWEST_FIRST`."""

_OLDEST_FIRST: Final = "committed, sequence, is_tombstone, scored, score_id DESC"

TABLES: Final = f"""
CREATE TABLE scores (
  id INTEGER PRIMARY KEY,
  account_id TEXT NOT NULL,
  score_id TEXT NOT NULL,
  committed INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  is_tombstone INTEGER NOT NULL,
  scored INTEGER NOT NULL,
  score INTEGER,
  tier TEXT,
  confidence REAL,
  model TEXT,
  model_version TEXT,
  prompt_version TEXT,
  context_hash TEXT,
  document BLOB NOT NULL,
  previous INTEGER,
  difference INTEGER,
  cause TEXT
);
CREATE UNIQUE INDEX score_of_account ON scores (account_id, score_id);
CREATE INDEX history_of_account ON scores (account_id, {NEWEST_FIRST});
CREATE INDEX scored_at ON scores (scored);
CREATE TABLE accounts (
  account_id TEXT PRIMARY KEY,
  name TEXT,
  owner_id TEXT,
  industry TEXT,
  type TEXT,
  website TEXT,
  billing_country TEXT
);
CREATE VIRTUAL TABLE names USING fts5 (name, tokenize = "unicode61 remove_diacritics 2", prefix = '1 2 3');
CREATE TABLE listed (
  account_id TEXT PRIMARY KEY,
  newest INTEGER NOT NULL,
  is_scored INTEGER NOT NULL,
  score INTEGER,
  tier TEXT,
  confidence REAL NOT NULL,
  scored INTEGER NOT NULL,
  sort_name TEXT NOT NULL,
  owner_id TEXT,
  industry TEXT
);
CREATE INDEX listed_by_score ON listed (is_scored, score DESC, confidence DESC, account_id);
CREATE INDEX listed_by_scored ON listed (is_scored, scored DESC, account_id);
CREATE INDEX listed_by_name ON listed (is_scored, sort_name, account_id);
CREATE TABLE compared (days INTEGER, account_id TEXT, score INTEGER, tier TEXT, PRIMARY KEY (days, account_id))
WITHOUT ROWID;
CREATE TABLE comparisons (days INTEGER PRIMARY KEY, since INTEGER NOT NULL);
CREATE TABLE state (as_of INTEGER NOT NULL);
"""

# Of the same score the one that was made last counts; a repeated row changes nothing.
MERGE_SCORES: Final = """
INSERT INTO scores (
  account_id, score_id, committed, sequence, is_tombstone, scored, score, tier, confidence, model, model_version,
  prompt_version, context_hash, document
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account_id, score_id) DO UPDATE SET
  committed = excluded.committed, sequence = excluded.sequence, is_tombstone = excluded.is_tombstone,
  scored = excluded.scored, score = excluded.score, tier = excluded.tier, confidence = excluded.confidence,
  model = excluded.model, model_version = excluded.model_version, prompt_version = excluded.prompt_version,
  context_hash = excluded.context_hash, document = excluded.document
WHERE excluded.scored > scores.scored
"""

# The cause is that of the view `score_movements`.
_PAIR_SCORES: Final = f"""
UPDATE scores
SET
  previous = pair.previous,
  difference = pair.difference,
  cause = CASE
    WHEN scores.is_tombstone THEN 'deleted'
    WHEN pair.previous IS NULL THEN 'first_score'
    WHEN pair.was_tombstone THEN 'revived'
    WHEN scores.prompt_version IS NOT pair.prompt_version THEN 'prompt'
    WHEN scores.model IS NOT pair.model THEN 'model'
    WHEN scores.context_hash IS NOT pair.context_hash THEN 'facts'
    WHEN scores.model_version IS NOT pair.model_version THEN 'model_version'
    ELSE 'nothing'
  END
FROM (
  SELECT
    id,
    LAG(id) OVER before AS previous,
    LAG(is_tombstone) OVER before AS was_tombstone,
    score - LAG(score) OVER before AS difference,
    LAG(prompt_version) OVER before AS prompt_version,
    LAG(model) OVER before AS model,
    LAG(context_hash) OVER before AS context_hash,
    LAG(model_version) OVER before AS model_version
  FROM scores
  WHERE {{which}}
  WINDOW before AS (PARTITION BY account_id ORDER BY {_OLDEST_FIRST})
) AS pair
WHERE scores.id = pair.id
"""  # noqa: S608 - all text is from this module
_UNLIST: Final = "DELETE FROM listed WHERE {which}"
_LIST: Final = f"""
INSERT INTO listed
SELECT
  newest.account_id, newest.id, NOT newest.is_tombstone, newest.score, newest.tier, IFNULL(newest.confidence, -1),
  newest.scored, folded(IFNULL(accounts.name, '')), accounts.owner_id, accounts.industry
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY {NEWEST_FIRST}) AS recency FROM scores WHERE {{which}}
) AS newest
LEFT JOIN accounts ON accounts.account_id = newest.account_id
WHERE newest.recency = 1
"""  # noqa: S608 - all text is from this module

SETTLE_ALL: Final = tuple(sql.format(which="TRUE") for sql in (_PAIR_SCORES, _UNLIST, _LIST))
SETTLE_CHANGED: Final = tuple(
    sql.format(which="account_id IN (SELECT account_id FROM changed)") for sql in (_PAIR_SCORES, _UNLIST, _LIST)
)
"""What follows from the rows of `scores`, for all accounts and for those of the temporary table `changed`."""

CHANGED: Final = "CREATE TEMPORARY TABLE changed (account_id TEXT PRIMARY KEY) WITHOUT ROWID"
MIRRORED: Final = """
CREATE TEMPORARY TABLE mirrored (
  account_id TEXT PRIMARY KEY, name TEXT, owner_id TEXT, industry TEXT, type TEXT, website TEXT, billing_country TEXT
)
"""
_MIRROR_COLUMNS: Final = "account_id, name, owner_id, industry, type, website, billing_country"
MIRROR_CHANGES: Final = f"""
INSERT OR IGNORE INTO changed
SELECT DISTINCT account_id FROM (
  SELECT * FROM (SELECT {_MIRROR_COLUMNS} FROM mirrored EXCEPT SELECT {_MIRROR_COLUMNS} FROM accounts)
  UNION ALL
  SELECT * FROM (SELECT {_MIRROR_COLUMNS} FROM accounts EXCEPT SELECT {_MIRROR_COLUMNS} FROM mirrored)
)
"""  # noqa: S608 - all text is from this module
APPLY_MIRROR: Final = (
    (
        "DELETE FROM names WHERE rowid IN "
        "(SELECT accounts.rowid FROM accounts JOIN changed ON changed.account_id = accounts.account_id)"
    ),
    "DELETE FROM accounts WHERE account_id IN (SELECT account_id FROM changed)",
    (
        f"INSERT INTO accounts ({_MIRROR_COLUMNS}) SELECT {_MIRROR_COLUMNS} FROM mirrored "  # noqa: S608 - a constant
        "WHERE account_id IN (SELECT account_id FROM changed)"
    ),
    (
        "INSERT INTO names (rowid, name) SELECT accounts.rowid, accounts.name FROM accounts "
        "JOIN changed ON changed.account_id = accounts.account_id WHERE accounts.name IS NOT NULL"
    ),
)

# As `rescore scores --moved-since` compares: the row that was newest then; deleted and new accounts had no score.
COMPARE: Final = f"""
INSERT INTO compared
SELECT :days, listed.account_id, scores.score, scores.tier
FROM listed
JOIN scores ON scores.id = (
  SELECT id FROM scores AS history
  WHERE history.account_id = listed.account_id AND history.scored < :since
  ORDER BY {NEWEST_FIRST}
  LIMIT 1
)
WHERE NOT scores.is_tombstone
"""  # noqa: S608 - all text is from this module
