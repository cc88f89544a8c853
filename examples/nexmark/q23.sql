-- Nexmark q23. Bids with the bidder's person and every auction that he has listed: a join of three streams.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SOURCE person (
  id BIGINT, name TEXT, emailaddress TEXT, creditcard TEXT, city TEXT, state TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'person', 'number-of-rows' = '200000');

CREATE SOURCE auction (
  id BIGINT, itemname TEXT, description TEXT, initialbid BIGINT, reserve BIGINT, datetime TIMESTAMP(3), expires TIMESTAMP(3),
  seller BIGINT, category BIGINT, extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'auction', 'number-of-rows' = '200000');

CREATE SINK q23_out (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  name TEXT, emailaddress TEXT, creditcard TEXT, city TEXT, state TEXT, person_datetime TIMESTAMP(3), person_extra TEXT,
  auction_id BIGINT, itemname TEXT, description TEXT, initialbid BIGINT, reserve BIGINT, auction_datetime TIMESTAMP(3),
  expires TIMESTAMP(3), seller BIGINT, category BIGINT, auction_extra TEXT
) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q23 AS
INSERT INTO q23_out
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.datetime, b.extra,
  p.name, p.emailaddress, p.creditcard, p.city, p.state, p.datetime, p.extra,
  a.id, a.itemname, a.description, a.initialbid, a.reserve, a.datetime, a.expires, a.seller, a.category, a.extra
FROM bid AS b
JOIN person AS p ON b.bidder = p.id
JOIN auction AS a ON p.id = a.seller;
