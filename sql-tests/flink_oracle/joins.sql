-- Joins by time: interval joins and window joins. Both sides come from one file, so that their rows are in one order; Flink
-- still reads the two sides of a join as they come. So where rows are late (j), other rows hold them apart; the watermark of
-- p is behind all of its rows.

CREATE TABLE j (side STRING, id STRING, k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/j.jsonl', 'format' = 'json');

CREATE TABLE p (side STRING, id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts - INTERVAL '20' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'data/p.jsonl', 'format' = 'json');

CREATE VIEW jl AS SELECT id, k, ts FROM j WHERE side = 'L';

CREATE VIEW jr AS SELECT id, k, ts FROM j WHERE side = 'R';

CREATE VIEW l AS SELECT id, k, ts, v FROM p WHERE side = 'L';

CREATE VIEW r AS SELECT id, k, ts, v FROM p WHERE side = 'R';

-- case interval_inner_late
SELECT a.id AS lid, b.id AS rid, a.ts AS lts, b.ts AS rts
FROM jl a JOIN jr b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '5' SECOND;

-- case interval_left_late
SELECT a.id AS lid, b.id AS rid, a.ts AS lts, b.ts AS rts
FROM jl a LEFT JOIN jr b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '5' SECOND;

CREATE VIEW ij AS SELECT a.id AS lid, b.id AS rid, a.ts AS lts
FROM jl a LEFT JOIN jr b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '5' SECOND;

-- case interval_left_then_tumble
SELECT window_start, COUNT(*) AS c, COUNT(rid) AS m
FROM TABLE(TUMBLE(TABLE ij, DESCRIPTOR(lts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end;

-- case interval_inner
SELECT l.id AS lid, r.id AS rid FROM l JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '4' SECOND AND l.ts + INTERVAL '4' SECOND;

-- case interval_left
SELECT l.id AS lid, r.id AS rid FROM l LEFT JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '4' SECOND AND l.ts + INTERVAL '4' SECOND;

-- case interval_right
SELECT l.id AS lid, r.id AS rid FROM l RIGHT JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '4' SECOND AND l.ts + INTERVAL '4' SECOND;

-- case interval_full
SELECT l.id AS lid, r.id AS rid FROM l FULL JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '4' SECOND AND l.ts + INTERVAL '4' SECOND;

-- case interval_after_only
SELECT l.id AS lid, r.id AS rid FROM l FULL JOIN r ON l.k = r.k AND r.ts > l.ts AND r.ts <= l.ts + INTERVAL '7' SECOND;

-- case interval_before_only
SELECT l.id AS lid, r.id AS rid FROM l LEFT JOIN r ON l.k = r.k AND r.ts >= l.ts - INTERVAL '7' SECOND AND r.ts < l.ts;

-- case interval_away_from_zero
SELECT l.id AS lid, r.id AS rid FROM l FULL JOIN r
ON l.k = r.k AND l.ts BETWEEN r.ts + INTERVAL '1' SECOND AND r.ts + INTERVAL '9' SECOND;

-- case interval_equal_times
SELECT l.id AS lid, r.id AS rid FROM l JOIN r ON l.k = r.k AND l.ts = r.ts;

-- case interval_without_key
SELECT l.id AS lid, r.id AS rid FROM l JOIN r ON r.ts BETWEEN l.ts AND l.ts + INTERVAL '1' SECOND;

-- case interval_further_condition
SELECT l.id AS lid, r.id AS rid
FROM l LEFT JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '6' SECOND AND l.ts + INTERVAL '6' SECOND AND r.v > 10 * l.v;

-- case interval_null_safe_key
SELECT l.id AS lid, r.id AS rid
FROM l JOIN r ON l.k IS NOT DISTINCT FROM r.k AND r.ts BETWEEN l.ts - INTERVAL '4' SECOND AND l.ts + INTERVAL '4' SECOND;

-- case interval_in_where
SELECT l.id AS lid, r.id AS rid FROM l, r WHERE l.k = r.k AND r.ts BETWEEN l.ts AND l.ts + INTERVAL '3' SECOND AND l.v < 9;

-- case interval_two_in_a_row
SELECT l.id AS lid, r.id AS rid, m.id AS mid FROM l
JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '4' SECOND AND l.ts + INTERVAL '4' SECOND
JOIN r AS m ON l.k = m.k AND m.ts BETWEEN l.ts - INTERVAL '2' SECOND AND l.ts + INTERVAL '2' SECOND;

CREATE VIEW pairs AS SELECT l.k AS k, l.ts AS ts, r.v AS v
FROM l JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '4' SECOND AND l.ts + INTERVAL '4' SECOND;

-- case interval_then_tumble
SELECT window_start, k, COUNT(*) AS c, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE pairs, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k;

CREATE VIEW lw AS SELECT * FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND));

CREATE VIEW rw AS SELECT * FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND));

-- case window_inner
SELECT a.id AS lid, b.id AS rid, a.window_start AS ws
FROM lw a JOIN rw b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;

-- case window_left
SELECT a.id AS lid, b.id AS rid, a.window_start AS ws
FROM lw a LEFT JOIN rw b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;

-- case window_right
SELECT a.id AS lid, b.id AS rid, b.window_start AS ws
FROM lw a RIGHT JOIN rw b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;

-- case window_full
SELECT a.id AS lid, b.id AS rid, COALESCE(a.window_start, b.window_start) AS ws
FROM lw a FULL JOIN rw b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;

-- case window_semi
SELECT a.id AS lid, a.window_start AS ws FROM lw a
WHERE EXISTS (SELECT * FROM rw b WHERE a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end);

-- case window_anti
SELECT a.id AS lid, a.window_start AS ws FROM lw a
WHERE NOT EXISTS (SELECT * FROM rw b WHERE a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end);

-- case window_semi_in
SELECT a.id AS lid, a.window_start AS ws FROM lw a
WHERE a.k IN (SELECT b.k FROM rw b WHERE a.window_start = b.window_start AND a.window_end = b.window_end);

-- case window_without_key
SELECT a.id AS lid, b.id AS rid FROM lw a JOIN rw b ON a.window_start = b.window_start AND a.window_end = b.window_end;

-- case window_full_null_key
SELECT a.id AS lid, b.id AS rid, a.window_start AS ws
FROM (SELECT * FROM TABLE(TUMBLE(TABLE jl, DESCRIPTOR(ts), INTERVAL '10' SECOND))) a
FULL JOIN (SELECT * FROM TABLE(TUMBLE(TABLE jr, DESCRIPTOR(ts), INTERVAL '10' SECOND))) b
ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;

-- case window_hop_inner
SELECT a.id AS lid, b.id AS rid, a.window_start AS ws
FROM (SELECT * FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))) a
JOIN (SELECT * FROM TABLE(HOP(TABLE r, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))) b
ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;

-- case window_join_of_aggregates
SELECT a.k AS k, a.window_start AS ws, a.s AS ls, b.s AS rs
FROM (SELECT k, window_start, window_end, SUM(v) AS s FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND))
      GROUP BY k, window_start, window_end) a
LEFT JOIN (SELECT k, window_start, window_end, SUM(v) AS s FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND))
      GROUP BY k, window_start, window_end) b
ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;

-- case window_self_join
SELECT a.id AS lid, b.id AS rid
FROM (SELECT * FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(ts), INTERVAL '10' SECOND))) a
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(ts), INTERVAL '10' SECOND))) b
ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end WHERE a.id < b.id;
