CREATE SOURCE orders (
    order_id BIGINT, customer TEXT, amount NUMERIC(12,2), ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'test');

CREATE SOURCE numbers (
    id BIGINT, s SMALLINT, i INTEGER, b BIGINT, r REAL, d DOUBLE PRECISION, n NUMERIC(10,2), m NUMERIC, t TEXT,
    v VARCHAR(5), flag BOOLEAN, bytes BYTEA, day DATE, ts TIMESTAMP, tz TIMESTAMP WITH TIME ZONE, gap INTERVAL
) WITH ('connector' = 'test');

CREATE SOURCE events (
    "Kind" TEXT, bid ROW<auction BIGINT, price BIGINT, channel TEXT>, tags ARRAY<TEXT>, at TIMESTAMP(6),
    late TIMESTAMP(3), WATERMARK FOR at AS at
) WITH ('connector' = 'test');

CREATE SINK out_orders (customer TEXT, total NUMERIC(38,2)) WITH ('connector' = 'append');
CREATE SINK upserts (customer TEXT, total NUMERIC(38,2)) WITH ('connector' = 'changes');
CREATE SOURCE accounts (id BIGINT, owner TEXT, balance NUMERIC(12,2), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
    WITH ('connector' = 'changelog');
CREATE SINK by_customer (customer TEXT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
    WITH ('connector' = 'upsert');
CREATE SINK by_total (customer TEXT, total NUMERIC(38,2), PRIMARY KEY (total) NOT ENFORCED)
    WITH ('connector' = 'upsert');
CREATE SINK audit (customer TEXT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
    WITH ('connector' = 'changes');
CREATE SINK latest (customer TEXT, amount NUMERIC(12,2), ts TIMESTAMP(3), PRIMARY KEY (customer) NOT ENFORCED)
    WITH ('connector' = 'upsert');
CREATE SINK per_minute (window_start TIMESTAMP(3), customer TEXT, orders BIGINT, amount NUMERIC(38,2))
    WITH ('connector' = 'append');
CREATE SINK wide (
    id BIGINT NOT NULL, s SMALLINT, i INTEGER, n NUMERIC(10,2), d DOUBLE PRECISION, t TEXT, v VARCHAR(3),
    flag BOOLEAN, day DATE, ts TIMESTAMP(3), tz TIMESTAMP WITH TIME ZONE
) WITH ('connector' = 'append');

CREATE SOURCE payments (
    order_id INTEGER, amount NUMERIC(12,2), paid TIMESTAMP(3), note TEXT, WATERMARK FOR paid AS paid
) WITH ('connector' = 'test');
CREATE SOURCE profiles (note TEXT, customer TEXT, city TEXT, seen TIMESTAMP(3), PRIMARY KEY (customer) NOT ENFORCED)
    WITH ('connector' = 'upserts');
