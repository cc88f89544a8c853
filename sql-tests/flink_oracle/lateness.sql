-- Closed windows that late rows correct. Flink has that for its old GROUP BY windows only, by settings of the job.

CREATE TABLE e (id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/e.jsonl', 'format' = 'json');

CREATE TABLE se (id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/se.jsonl', 'format' = 'json');

CREATE TABLE w (id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'data/w.jsonl', 'format' = 'json');

SET table.exec.emit.late-fire.enabled = true;

SET table.exec.emit.late-fire.delay = 0 s;

SET table.exec.emit.allow-lateness = 1 h;

-- case allowed_an_hour
SELECT k, TUMBLE_START(ts, INTERVAL '10' SECOND) AS ws, SUM(v) AS s FROM e GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND);
-- ours
SELECT k, window_start AS ws, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end
EMIT ON WINDOW CLOSE ALLOWED LATENESS INTERVAL '1' HOUR;

-- case allowed_an_hour_hop
SELECT HOP_START(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) AS ws, SUM(v) AS s
FROM se GROUP BY HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND);
-- ours
SELECT window_start AS ws, SUM(v) AS s
FROM TABLE(HOP(TABLE se, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE ALLOWED LATENESS INTERVAL '1' HOUR;

SET table.exec.emit.allow-lateness = 3 s;

-- case allowed_three_seconds
SELECT TUMBLE_START(ts, INTERVAL '10' SECOND) AS ws, SUM(v) AS s FROM se GROUP BY TUMBLE(ts, INTERVAL '10' SECOND);
-- ours
SELECT window_start AS ws, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE se, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE ALLOWED LATENESS INTERVAL '3' SECOND;

-- case allowed_three_seconds_by_key
SELECT k, TUMBLE_START(ts, INTERVAL '10' SECOND) AS ws, COUNT(*) AS c, MAX(v) AS m FROM w GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND);
-- ours
SELECT k, window_start AS ws, COUNT(*) AS c, MAX(v) AS m
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end
EMIT ON UPDATE ALLOWED LATENESS INTERVAL '3' SECOND;

-- case allowed_three_seconds_distinct
SELECT TUMBLE_START(ts, INTERVAL '5' SECOND) AS ws, COUNT(DISTINCT k) AS c FROM se GROUP BY TUMBLE(ts, INTERVAL '5' SECOND);
-- ours
SELECT window_start AS ws, COUNT(DISTINCT k) AS c
FROM TABLE(TUMBLE(TABLE se, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE ALLOWED LATENESS INTERVAL '3' SECOND;

-- case allowed_three_seconds_hop
SELECT HOP_START(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) AS ws, SUM(v) AS s
FROM se GROUP BY HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND);
-- ours
SELECT window_start AS ws, SUM(v) AS s
FROM TABLE(HOP(TABLE se, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE ALLOWED LATENESS INTERVAL '3' SECOND;

SET table.exec.emit.late-fire.enabled = false;

SET table.exec.emit.allow-lateness = 0 s;

SET table.exec.emit.early-fire.enabled = true;

SET table.exec.emit.early-fire.delay = 0 s;

-- case early_with_each_row
SELECT k, TUMBLE_START(ts, INTERVAL '10' SECOND) AS ws, SUM(v) AS s FROM se GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND);
-- ours
SELECT k, window_start AS ws, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE se, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end EMIT ON UPDATE;

-- case early_with_each_row_hop
SELECT HOP_START(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) AS ws, COUNT(*) AS c
FROM w GROUP BY HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND);
-- ours
SELECT window_start AS ws, COUNT(*) AS c
FROM TABLE(HOP(TABLE w, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end EMIT ON UPDATE;
