-- Windows of TIMESTAMP_LTZ in a zone with daylight saving: a day of 23 hours in spring, one of 25 in autumn. Flink names them by
-- what clocks show, we by instants: a cast makes one of the other.

CREATE TABLE spring (id INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/spring.jsonl', 'format' = 'json');

CREATE TABLE autumn (id INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/autumn.jsonl', 'format' = 'json');

CREATE TABLE days (id INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/days.jsonl', 'format' = 'json');

SET table.local-time-zone = America/Los_Angeles;
-- ours
SET TimeZone = 'America/Los_Angeles';

-- case hours_in_spring
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)) AS ws, CAST(window_end AS TIMESTAMP_LTZ(3)) AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE spring, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time;
-- ours
SELECT window_start AS ws, window_end AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE spring, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time;

-- case hours_in_autumn
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)) AS ws, CAST(window_end AS TIMESTAMP_LTZ(3)) AS we, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE autumn, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
-- ours
SELECT window_start AS ws, window_end AS we, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE autumn, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;

-- case last_instants_in_autumn
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)) AS ws, CAST(window_end AS TIMESTAMP_LTZ(3)) AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE autumn, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time;
-- ours
SELECT window_start AS ws, window_end AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE autumn, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time;

-- case four_hours_in_spring
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)) AS ws, CAST(window_end AS TIMESTAMP_LTZ(3)) AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE spring, DESCRIPTOR(ts), INTERVAL '4' HOUR)) GROUP BY window_start, window_end, window_time;
-- ours
SELECT window_start AS ws, window_end AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE spring, DESCRIPTOR(ts), INTERVAL '4' HOUR)) GROUP BY window_start, window_end, window_time;

-- case days_of_23_and_25_hours
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)) AS ws, CAST(window_end AS TIMESTAMP_LTZ(3)) AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE days, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, window_time;
-- ours
SELECT window_start AS ws, window_end AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE days, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, window_time;

-- case hours_of_days
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)) AS ws, CAST(window_end AS TIMESTAMP_LTZ(3)) AS we, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE days, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
-- ours
SELECT window_start AS ws, window_end AS we, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE days, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;

-- case six_hours_with_offset
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)) AS ws, CAST(window_end AS TIMESTAMP_LTZ(3)) AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE days, DESCRIPTOR(ts), INTERVAL '6' HOUR, INTERVAL '3' HOUR)) GROUP BY window_start, window_end, window_time;
-- ours
SELECT window_start AS ws, window_end AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE days, DESCRIPTOR(ts), INTERVAL '6' HOUR, INTERVAL '3' HOUR)) GROUP BY window_start, window_end, window_time;

-- case weeks
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)) AS ws, CAST(window_end AS TIMESTAMP_LTZ(3)) AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE days, DESCRIPTOR(ts), INTERVAL '7' DAY)) GROUP BY window_start, window_end, window_time;
-- ours
SELECT window_start AS ws, window_end AS we, window_time AS wt, COUNT(*) AS c, MIN(id) AS a, MAX(id) AS b
FROM TABLE(TUMBLE(TABLE days, DESCRIPTOR(ts), INTERVAL '7' DAY)) GROUP BY window_start, window_end, window_time;
