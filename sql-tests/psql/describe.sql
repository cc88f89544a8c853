-- What exists
\d
\dt
\dm
\dv
\ds
\di
\dn
\l
-- What one of them is
\d orders
\d hole
\d totals
\d copy_orders
\d public.totals
\d to*
\d nosuch
\d+ totals
\d+ copy_orders
\d+
\dt+ orders
\dv+
\dm+
\dn+
\du+
\du ann
\df+
\df nosuch
\df upper
\dfa sum
\df+ upper
\dT int*
\d+ hole
\d tidemill.sinks
\dv tidemill.*
\dp
\dt orders
-- What else there could be
\du
\df
\dx
\dp totals
\db
\dT
\dew
\dRp
