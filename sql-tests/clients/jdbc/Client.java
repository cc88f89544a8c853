// The PostgreSQL JDBC driver against Tidemill. One line on stdout for each step that went as it should; see ../mod.rs.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.Objects;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PSQLException;

public class Client {
    static final LocalDateTime TIMESTAMP = LocalDateTime.parse("2024-02-29T12:34:56.789012");
    static final OffsetDateTime INSTANT = OffsetDateTime.of(2024, 2, 29, 10, 34, 56, 0, ZoneOffset.UTC);

    static void check(Object seen, Object expected) {
        if (!Objects.deepEquals(seen, expected)) {
            throw new AssertionError(seen + " instead of " + expected);
        }
    }

    static Connection connect(String threshold) throws SQLException {
        var properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        // -1: binary from the first execution on; 0: never, so that all values come as text.
        properties.setProperty("prepareThreshold", threshold);
        properties.setProperty("binaryTransfer", String.valueOf(!threshold.equals("0")));
        var url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        return DriverManager.getConnection(url, properties);
    }

    static void types(Connection connection) throws SQLException {
        var query = System.getenv("EVERY_TYPE").replace("$1", "?");
        try (var statement = connection.prepareStatement(query)) {
            statement.setInt(1, 1);
            try (var row = statement.executeQuery()) {
                check(row.next(), true);
                check(row.getBoolean("b"), true);
                check(row.getShort("s"), (short) 1);
                check(row.getInt("i"), 2);
                check(row.getLong("l"), 3L);
                check(row.getFloat("r"), 1.5f);
                check(row.getDouble("d"), 2.25);
                check(row.getBigDecimal("n"), new BigDecimal("12.34"));
                check(row.getString("t"), "text");
                check(row.getString("v"), "abc");
                check(row.getBytes("y"), new byte[] {1, 2, (byte) 0xff});
                check(row.getObject("da", LocalDate.class), LocalDate.of(2024, 2, 29));
                check(row.getObject("ts", LocalDateTime.class), TIMESTAMP);
                check(row.getObject("tz", OffsetDateTime.class).toInstant(), INSTANT.toInstant());
                check(row.getObject("iv"), new PGInterval(0, 0, 2, 3, 4, 5.6));
                check(row.getArray("a").getArray(), new Integer[] {1, null, 3});
                check(row.getArray("ta").getArray(), new String[] {"x", "y\"z", null});
                var meta = row.getMetaData();
                check(meta.getColumnTypeName(7), "numeric");
                check(meta.getPrecision(7), 10);
                check(meta.getScale(7), 2);
                check(row.next(), false);
            }
            statement.setInt(1, 2);
            try (var row = statement.executeQuery()) {
                check(row.next(), true);
                for (int column = 1; column <= 13; column++) {
                    check(row.getObject(column), null);
                }
            }
        }
    }

    static void parameters(Connection connection) throws SQLException {
        var query = "SELECT id FROM every_type WHERE b = ? AND s = ? AND i = ? AND l = ? AND r = ? AND d = ? AND n = ?"
            + " AND t = ? AND v = ? AND y = ? AND da = ? AND ts = ? AND tz = ?";
        try (var statement = connection.prepareStatement(query)) {
            check(statement.getParameterMetaData().getParameterCount(), 13);
            // More often than the driver's threshold, behind which a statement is prepared by name.
            for (int time = 0; time < 7; time++) {
                statement.setBoolean(1, true);
                statement.setShort(2, (short) 1);
                statement.setInt(3, 2);
                statement.setLong(4, 3);
                statement.setFloat(5, 1.5f);
                statement.setDouble(6, 2.25);
                statement.setBigDecimal(7, new BigDecimal("12.34"));
                statement.setString(8, "text");
                statement.setString(9, "abc");
                statement.setBytes(10, new byte[] {1, 2, (byte) 0xff});
                statement.setDate(11, Date.valueOf("2024-02-29"));
                statement.setObject(12, TIMESTAMP);
                statement.setObject(13, INSTANT);
                check(first(statement), 1);
            }
        }
        try (var statement = connection.prepareStatement("SELECT count(*)::int FROM every_type WHERE id = ANY(?)")) {
            statement.setArray(1, connection.createArrayOf("integer", new Integer[] {1, 2, 3}));
            check(first(statement), 2);
        }
        try (var statement = connection.prepareStatement("SELECT CASE WHEN ?::int IS NULL THEN 1 END")) {
            statement.setNull(1, Types.INTEGER);
            check(first(statement), 1);
        }
    }

    static int first(PreparedStatement statement) throws SQLException {
        try (var row = statement.executeQuery()) {
            check(row.next(), true);
            return row.getInt(1);
        }
    }

    interface Action {
        void run() throws SQLException;
    }

    static void fails(String state, Action action) {
        try {
            action.run();
        } catch (SQLException e) {
            check(e.getSQLState(), state);
            return;
        }
        throw new AssertionError("no error " + state);
    }

    static void failure(Connection connection) throws SQLException {
        try (var statement = connection.createStatement()) {
            fails("42703", () -> statement.executeQuery("SELECT nosuch FROM every_type"));
            try {
                statement.executeQuery("SELECT nosuch FROM every_type");
            } catch (PSQLException e) {
                check(e.getServerErrorMessage().getPosition(), 8);
            }
            fails("22012", () -> statement.executeQuery("SELECT 1/0"));
        }
        try (var statement = connection.prepareStatement("SELECT 6 * 7")) {
            check(first(statement), 42);
        }
    }

    static void block(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (var statement = connection.createStatement()) {
            fails("42703", () -> statement.executeQuery("SELECT nosuch"));
            fails("25P02", () -> statement.executeQuery("SELECT 1"));
            connection.rollback();
            statement.executeQuery("SELECT count(*) FROM every_type").close();
            connection.commit();
        }
        connection.setAutoCommit(true);
    }

    static void cursor(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (var statement = connection.createStatement()) {
            statement.setFetchSize(10);
            long sum = 0;
            try (var rows = statement.executeQuery("SELECT n FROM generate_series(1, 1000) AS n ORDER BY n")) {
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
            }
            check(sum, 500500L);
            statement.setFetchSize(0);
            statement.execute("DECLARE numbers CURSOR FOR SELECT n FROM generate_series(1, 10) AS n ORDER BY n");
            try (var rows = statement.executeQuery("FETCH FORWARD 3 FROM numbers")) {
                check(rows.next() && rows.next() && rows.next(), true);
                check(rows.getLong(1), 3L);
                check(rows.next(), false);
            }
            statement.execute("CLOSE numbers");
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void copy(Connection connection) throws Exception {
        var out = new java.io.StringWriter();
        var rows = connection.unwrap(PGConnection.class).getCopyAPI()
            .copyOut("COPY (SELECT id, t, b FROM every_type ORDER BY id) TO STDOUT", out);
        check(rows, 2L);
        check(out.toString(), "1\ttext\tt\n2\t\\N\t\\N\n");
    }

    static void subscribe(Connection connection) throws Exception {
        var copy = connection.unwrap(PGConnection.class).getCopyAPI()
            .copyOut("COPY (SUBSCRIBE (SELECT id FROM every_type)) TO STDOUT");
        var lines = new String[] {new String(copy.readFromCopy()), new String(copy.readFromCopy())};
        for (int n = 0; n < lines.length; n++) {
            lines[n] = lines[n].substring(lines[n].indexOf('\t'));
        }
        Arrays.sort(lines);
        check(lines, new String[] {"\t1\t1\n", "\t1\t2\n"});
        connection.unwrap(PGConnection.class).cancelQuery();
        fails("57014", () -> {
            while (copy.readFromCopy() != null) {
            }
        });
        connection.setAutoCommit(false);
        try (var statement = connection.createStatement()) {
            statement.execute("DECLARE changes CURSOR FOR SUBSCRIBE every_type");
            int seen = 0;
            while (seen < 2) {
                try (var rows = statement.executeQuery("FETCH ALL changes WITH (timeout = '1s')")) {
                    while (rows.next()) {
                        check(rows.getLong(2), 1L);
                        seen++;
                    }
                }
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void cancel(Connection connection) throws Exception {
        try (var statement = connection.createStatement()) {
            var later = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    statement.cancel();
                } catch (Exception e) {
                    e.printStackTrace();
                }
            });
            later.start();
            fails("57014", () -> statement.executeQuery(System.getenv("ENDLESS")));
            later.join();
        }
        try (var statement = connection.prepareStatement("SELECT 1")) {
            check(first(statement), 1);
        }
    }

    /** What tools ask before they show anything. */
    static void metadata(Connection connection) throws SQLException {
        var meta = connection.getMetaData();
        try (var tables = meta.getTables(null, "public", "every%", null)) {
            check(tables.next(), true);
            check(tables.getString("TABLE_NAME"), "every_type");
            check(tables.getString("TABLE_TYPE"), "MATERIALIZED VIEW");
            check(tables.next(), false);
        }
        try (var columns = meta.getColumns(null, "public", "every_type", "%")) {
            check(columns.next(), true);
            check(columns.getString("COLUMN_NAME"), "id");
            check(columns.getInt("DATA_TYPE"), Types.INTEGER);
        }
        try (var keys = meta.getPrimaryKeys(null, "public", "every_type")) {
            check(keys.next(), false);
        }
        try (var schemas = meta.getSchemas()) {
            check(schemas.next(), true);
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (var connection = connect("0")) {
            check(connection.isValid(5), true);
            check(connection.getMetaData().getDatabaseProductName(), "PostgreSQL");
            System.out.println("connect");
            types(connection);
            System.out.println("text");
        }
        try (var connection = connect("-1")) {
            types(connection);
            System.out.println("binary");
        }
        try (var connection = connect("5")) {
            parameters(connection);
            System.out.println("parameters");
            failure(connection);
            System.out.println("failure");
            block(connection);
            System.out.println("block");
            cursor(connection);
            System.out.println("cursor");
            copy(connection);
            System.out.println("copy");
            subscribe(connection);
            System.out.println("subscribe");
            cancel(connection);
            System.out.println("cancel");
            metadata(connection);
            System.out.println("metadata");
        }
    }
}
