SELECT service,
  variant,
  if(reason IN ('percentage', 'unattended'), rollout, '') AS in_rollout,
  counted_in AS slot,
  if(score < 0.5, 'bad', 'good') AS class,
  count() AS n,
  sum(if(told = 3, rating_weight, rating_weight * request_weight)) AS w
FROM (
SELECT service,
  variant,
  reason,
  rollout,
  answered,
  told,
  score,
  rating_weight,
  request_weight,
  asked_at,
  if(told = 3 OR rated_in > intDiv(asked_at, 60), rated_in, intDiv(asked_at, 60)) AS counted_in
FROM (
SELECT service,
  rated,
  argMax(assigned, tells) AS variant,
  argMax(cause, tells) AS reason,
  argMax(drawn, tells) AS rollout,
  argMax(served, tells) AS answered,
  max(tells) AS told,
  min(if(slot > 0, slot, 4294967295)) AS rated_in,
  argMin(last_score, if(slot > 0, slot, 4294967295)) AS score,
  argMin(weight, if(slot > 0, slot, 4294967295)) AS rating_weight,
  max(if(slot = 0, weight, 1)) AS request_weight,
  min(if(slot = 0, since, 4294967295)) AS asked_at
FROM (
SELECT service,
  rated,
  slot,
  argMax(arm, telling) AS assigned,
  argMax(why, telling) AS cause,
  argMax(of_rollout, telling) AS drawn,
  argMax(own, telling) AS served,
  max(telling) AS tells,
  max(sampled) AS weight,
  min(moment) AS since,
  argMax(rating, moment) AS last_score
FROM (
SELECT blob1 AS service,
  if(blob13 != '' AND (blob4 = 'feedback' OR blob4 = 'request'), blob13, blob10) AS rated,
  if(blob4 = 'feedback', intDiv(toUnixTimestamp(timestamp), 60), 0) AS slot,
  blob2 AS arm,
  blob6 AS why,
  blob7 AS of_rollout,
  if(blob4 = 'request' AND (blob5 = 'excluded' OR blob3 != blob2), 0, 1) AS own,
  if(blob4 = 'feedback', if(blob2 != '', 3, 0), if(blob4 = 'request', 2, 1)) AS telling,
  _sample_interval AS sampled,
  double10 AS rating,
  toUnixTimestamp(timestamp) AS moment
FROM perch
WHERE timestamp >= toDateTime(1739996280) AND timestamp < toDateTime(1740000060) AND blob1 IN ('model:acme/flux', 'http:qwen', 'deployment:acme/whisper') AND blob4 IN ('request', 'prediction', 'feedback'))
GROUP BY service,
  rated,
  slot)
GROUP BY service,
  rated))
WHERE counted_in >= 28999998 AND counted_in < 29000001 AND reason IN ('percentage', 'halted', 'unattended') AND variant IN ('stable', 'canary') AND answered = 1 AND (told = 3 OR counted_in * 60 <= asked_at + 3600)
GROUP BY service,
  variant,
  in_rollout,
  slot,
  class
LIMIT 53544
