-- The newest row of each account, in the order of current_account_scores, and whether Gemini scored the account within
-- the bounds (a carried-over score does not count). Shadow scores are left out. {scores} is project.dataset; values are
-- bound as parameters. The table is filtered on its partition column.
SELECT
  ARRAY_AGG(
    s
    ORDER BY
      s.change_committed_at DESC, s.change_sequence DESC, IF(s.status = 'tombstone', 1, 0) DESC, s.scored_at DESC,
      s.score_id
    LIMIT 1
  )[OFFSET(0)] AS newest,
  COUNTIF(s.status = 'scored' AND 'unchanged_context' NOT IN UNNEST(s.flags)) > 0 AS is_recent
FROM `{scores}.account_scores` AS s
WHERE s.account_id IN UNNEST(@account_ids) AND s.scored_at BETWEEN @since AND @until AND s.shadow IS NOT TRUE
GROUP BY s.account_id
