SELECT b.auction, b.price, b.bidder, b.datetime, b.extra
FROM bid AS b
JOIN (
  SELECT max(price) AS maxprice, date_bin(INTERVAL '10 seconds', datetime) AS starttime
  FROM bid GROUP BY date_bin(INTERVAL '10 seconds', datetime)
) AS w
ON b.price = w.maxprice AND b.datetime >= w.starttime AND b.datetime <= w.starttime + INTERVAL '10 seconds'
