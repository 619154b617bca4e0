-- The newest row of each wanted account, as current_account_scores takes it, and when its score was last asked for rather
-- than carried over. {scores} is project.dataset; values are bound as parameters. The partition filter bounds what is read.
SELECT
  ARRAY_AGG(
    s ORDER BY s.change_committed_at DESC, s.change_sequence DESC, s.scored_at DESC, s.score_id LIMIT 1
  )[OFFSET(0)] AS newest,
  COUNTIF(s.status = 'scored' AND 'unchanged_context' NOT IN UNNEST(s.flags)) > 0 AS is_recent
FROM `{scores}.account_scores` AS s
WHERE s.account_id IN UNNEST(@account_ids) AND s.scored_at BETWEEN @since AND @until
  AND 'shadow' NOT IN UNNEST(s.flags)
GROUP BY s.account_id
