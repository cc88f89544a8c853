-- Windows: TUMBLE, HOP, CUMULATE, SESSION, windows over windows; rows that are late; the watermark is the time itself
-- (e, se, ng) or five seconds behind it (w).

CREATE TABLE e (id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/e.jsonl', 'format' = 'json');

CREATE TABLE se (id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/se.jsonl', 'format' = 'json');

CREATE TABLE ng (id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/ng.jsonl', 'format' = 'json');

CREATE TABLE w (id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'data/w.jsonl', 'format' = 'json');

-- case tumble_late_row_and_null_keys
SELECT k, window_start, window_end, window_time, SUM(v) AS s, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end, window_time;

-- case tumble_offset_below_zero
SELECT window_start, window_end, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '-4' SECOND)) GROUP BY window_start, window_end;

-- case tumble_alone_drops_nobody
SELECT * FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '10' SECOND));

-- case tumble_before_1970
SELECT window_start, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE ng, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case tumble_named_arguments
SELECT window_start, COUNT(*) AS c
FROM TABLE(TUMBLE(DATA => TABLE se, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case tumble_by_one_border
SELECT window_start, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE se, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start;

-- case tumble_late_by_key
SELECT k, window_start, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE se, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;

-- case tumble_delayed_watermark
SELECT k, window_start, window_end, COUNT(*) AS c, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;

-- case tumble_without_keys
SELECT window_start, COUNT(*) AS c, COUNT(v) AS n
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case tumble_aggregates
SELECT window_start, COUNT(v) AS c, MIN(v) AS mi, MAX(v) AS ma, AVG(CAST(v AS DOUBLE)) AS a, MIN(k) AS k1, MAX(ts) AS t
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case tumble_distinct
SELECT window_start, COUNT(DISTINCT k) AS ks, COUNT(DISTINCT v) AS vs, SUM(DISTINCT v) AS s
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end;

-- case tumble_filter
SELECT window_start, COUNT(*) FILTER (WHERE k = 'a') AS a, SUM(v) FILTER (WHERE v > 5) AS big
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case tumble_having
SELECT k, window_start, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end HAVING COUNT(*) > 1;

-- case tumble_where
SELECT window_start, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE v > 3 AND k IS NOT NULL GROUP BY window_start, window_end;

-- case tumble_by_expression
SELECT window_start, MOD(v, 2) AS odd, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, MOD(v, 2);

-- case tumble_one_millisecond
SELECT window_start, window_end, window_time, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '0.001' SECOND)) WHERE id < 4 GROUP BY window_start, window_end, window_time;

-- case tumble_with_offset
SELECT k, window_start, window_end, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '3' SECOND)) GROUP BY k, window_start, window_end;

-- case tumble_days
SELECT window_start, window_end, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end;

-- case tumble_distinct_rows
SELECT DISTINCT window_start, window_end, k FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '20' SECOND));

-- case no_window_counts_late_rows
SELECT k, COUNT(*) AS c, SUM(v) AS s FROM e GROUP BY k;

-- case hop_late
SELECT window_start, window_end, SUM(v) AS s
FROM TABLE(HOP(TABLE se, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case hop_by_key
SELECT k, window_start, COUNT(*) AS c, SUM(v) AS s
FROM TABLE(HOP(TABLE w, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;

-- case hop_of_many_slices
SELECT window_start, COUNT(*) AS c, MIN(v) AS mi, MAX(v) AS ma
FROM TABLE(HOP(TABLE w, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end;

-- case hop_with_offset
SELECT window_start, window_end, SUM(v) AS s
FROM TABLE(HOP(TABLE w, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND, INTERVAL '2' SECOND)) GROUP BY window_start, window_end;

-- case hop_that_tumbles
SELECT window_start, window_end, SUM(v) AS s
FROM TABLE(HOP(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case hop_alone
SELECT id, window_start, window_end, window_time FROM TABLE(HOP(TABLE e, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND));

-- case hop_before_1970
SELECT window_start, window_end, SUM(v) AS s
FROM TABLE(HOP(TABLE ng, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case hop_distinct
SELECT window_start, COUNT(DISTINCT k) AS ks
FROM TABLE(HOP(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY window_start, window_end;

-- case hop_null_keys
SELECT k, window_end, COUNT(*) AS c
FROM TABLE(HOP(TABLE e, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY k, window_start, window_end;

-- case cumulate_late
SELECT window_start, window_end, SUM(v) AS s
FROM TABLE(CUMULATE(TABLE e, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end;

-- case cumulate_by_key
SELECT k, window_start, window_end, COUNT(*) AS c, SUM(v) AS s
FROM TABLE(CUMULATE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY k, window_start, window_end;

-- case cumulate_with_offset
SELECT window_start, window_end, COUNT(*) AS c
FROM TABLE(CUMULATE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND, INTERVAL '5' SECOND)) GROUP BY window_start, window_end;

-- case cumulate_alone
SELECT id, window_start, window_end FROM TABLE(CUMULATE(TABLE e, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND));

-- case cumulate_before_1970
SELECT window_start, window_end, SUM(v) AS s
FROM TABLE(CUMULATE(TABLE ng, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case cumulate_distinct
SELECT window_start, window_end, COUNT(DISTINCT k) AS ks
FROM TABLE(CUMULATE(TABLE w, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '60' SECOND)) GROUP BY window_start, window_end;

-- case session_late_row
SELECT k, window_start, window_end, SUM(v) AS s
FROM TABLE(SESSION(TABLE e PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY k, window_start, window_end;

-- case session_merged_by_a_late_row
SELECT k, window_start, window_end, SUM(v) AS s
FROM TABLE(SESSION(TABLE se PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY k, window_start, window_end;

-- case session_delayed_watermark
SELECT k, window_start, window_end, window_time, COUNT(*) AS c, SUM(v) AS s
FROM TABLE(SESSION(TABLE w PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY k, window_start, window_end, window_time;

-- case session_exactly_a_gap_apart
SELECT k, window_start, window_end, COUNT(*) AS c
FROM TABLE(SESSION(TABLE w PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)) WHERE k = 'a' GROUP BY k, window_start, window_end;

-- case session_of_all_rows
SELECT window_start, window_end, COUNT(*) AS c, SUM(v) AS s
FROM TABLE(SESSION(TABLE w, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY window_start, window_end;

-- case session_before_1970
SELECT k, window_start, window_end, COUNT(*) AS c
FROM TABLE(SESSION(TABLE ng PARTITION BY k, DESCRIPTOR(ts), INTERVAL '8' SECOND)) GROUP BY k, window_start, window_end;

-- case session_distinct
SELECT k, window_start, COUNT(DISTINCT v) AS c, MAX(v) AS m
FROM TABLE(SESSION(TABLE w PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;

CREATE VIEW fine AS SELECT k, window_time AS rt, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY k, window_start, window_end, window_time;

-- case tumble_over_tumble
SELECT window_start, window_end, SUM(s) AS s, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE fine, DESCRIPTOR(rt), INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
-- ours
SELECT window_start, window_end, SUM(s) AS s, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE fine, DESCRIPTOR(rt), INTERVAL '20' SECOND)) GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;

-- case hop_over_tumble
SELECT window_start, window_end, MAX(s) AS m
FROM TABLE(HOP(TABLE fine, DESCRIPTOR(rt), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
-- ours
SELECT window_start, window_end, MAX(s) AS m
FROM TABLE(HOP(TABLE fine, DESCRIPTOR(rt), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;

-- case cumulate_over_tumble
SELECT k, window_start, window_end, COUNT(*) AS c
FROM TABLE(CUMULATE(TABLE fine, DESCRIPTOR(rt), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY k, window_start, window_end;
-- ours
SELECT k, window_start, window_end, COUNT(*) AS c
FROM TABLE(CUMULATE(TABLE fine, DESCRIPTOR(rt), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY k, window_start, window_end
EMIT ON WINDOW CLOSE;

-- case same_window_again
SELECT window_start, window_end, MAX(c) AS m FROM (
  SELECT k, window_start, window_end, COUNT(*) AS c
  FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end)
GROUP BY window_start, window_end;

CREATE VIEW both_halves AS SELECT id, ts, v FROM w WHERE v > 5 AND id <> 10 AND id <> 14
UNION ALL SELECT id, ts, -v AS v FROM w WHERE v <= 5 AND id <> 20;

-- (Without the late rows: Flink reads the halves as they come.)
-- case tumble_over_union
SELECT window_start, COUNT(*) AS c, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE both_halves, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

CREATE VIEW doubled AS SELECT id * 2 AS id2, ts, UPPER(k) AS k2, v FROM w WHERE id <> 6;

-- case tumble_over_projection
SELECT k2, window_start, SUM(id2) AS s
FROM TABLE(TUMBLE(TABLE doubled, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k2, window_start, window_end;

-- case window_ranks_groups
SELECT window_start, k, s FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY s DESC, c DESC) AS rn FROM (
    SELECT k, window_start, window_end, SUM(v) AS s, COUNT(*) AS c
    FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE v IS NOT NULL GROUP BY k, window_start, window_end))
WHERE rn <= 2;

-- case window_ranks_rows
SELECT window_start, id, v, rn FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC) AS rn
  FROM TABLE(TUMBLE(TABLE se, DESCRIPTOR(ts), INTERVAL '10' SECOND)))
WHERE rn <= 2;

-- case window_last_row_of_a_key
SELECT window_start, k, id, v FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY ts DESC) AS rn
  FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)))
WHERE rn = 1;

-- case old_tumble
SELECT k, TUMBLE_START(ts, INTERVAL '10' SECOND) AS ws, SUM(v) AS s FROM w GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND);
-- ours
SELECT k, window_start AS ws, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;

-- case old_hop
SELECT HOP_START(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) AS ws, COUNT(*) AS c
FROM w GROUP BY HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND);
-- ours
SELECT window_start AS ws, COUNT(*) AS c
FROM TABLE(HOP(TABLE w, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end;

-- case old_session
SELECT k, SESSION_START(ts, INTERVAL '3' SECOND) AS ws, SESSION_END(ts, INTERVAL '3' SECOND) AS we, SUM(v) AS s
FROM se GROUP BY k, SESSION(ts, INTERVAL '3' SECOND);
-- ours
SELECT k, window_start AS ws, window_end AS we, SUM(v) AS s
FROM TABLE(SESSION(TABLE se PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY k, window_start, window_end;
