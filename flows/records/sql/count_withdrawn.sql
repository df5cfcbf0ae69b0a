UPDATE runs
SET awards_withdrawn = coalesce(awards_withdrawn, 0) + taken.awards
FROM (
    SELECT planned_run_id, count(*) AS awards FROM withdrawn GROUP BY planned_run_id
) AS taken
WHERE runs.run_id = taken.planned_run_id
