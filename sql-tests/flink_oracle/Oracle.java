import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.time.temporal.ChronoField;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs a script's cases on Flink in this JVM, in streaming mode, with one task and a watermark behind every row, and
 * prints each row of their answers with its change kind, values written as Tidemill writes them.
 *
 * <p>A case is a statement behind a line "-- case NAME". One behind "-- ours" is Tidemill's text of the case before it,
 * and is left out.
 */
public class Oracle {
  private static final DateTimeFormatter TIMESTAMP =
      new DateTimeFormatterBuilder()
          .appendPattern("yyyy-MM-dd HH:mm:ss")
          .appendFraction(ChronoField.NANO_OF_SECOND, 0, 9, true)
          .toFormatter();
  private static final DateTimeFormatter INSTANT =
      new DateTimeFormatterBuilder().append(TIMESTAMP).appendOffset("+HH", "+00").toFormatter();

  /** Of the session: instants are shown as its clocks show them. */
  private static ZoneId zone = ZoneId.of("UTC");

  public static void main(String[] arguments) throws Exception {
    Configuration configuration = new Configuration();
    configuration.setString("parallelism.default", "1");
    configuration.setString("pipeline.auto-watermark-interval", "0");
    configuration.setString("table.local-time-zone", "UTC");
    configuration.setString("rest.port", "0");
    configuration.setString("taskmanager.numberOfTaskSlots", "8");
    EnvironmentSettings settings =
        EnvironmentSettings.newInstance().withConfiguration(configuration).inStreamingMode().build();
    TableEnvironment flink = TableEnvironment.create(settings);
    for (String statement : Files.readString(Path.of(arguments[0])).split(";\\s*\\n")) {
      run(flink, statement);
    }
    System.exit(0);
  }

  private static void run(TableEnvironment flink, String statement) {
    String name = null;
    List<String> lines = new ArrayList<>();
    for (String line : statement.split("\n")) {
      if (line.strip().equals("-- ours")) {
        return;
      } else if (line.startsWith("-- case ")) {
        name = line.substring("-- case ".length()).strip();
      } else if (!line.startsWith("--")) {
        lines.add(line);
      }
    }
    String sql = String.join("\n", lines).strip();
    if (sql.isEmpty()) {
      return;
    }
    if (name != null) {
      System.out.println("-- case " + name);
    }
    try {
      if (sql.startsWith("SET ")) {
        String[] pair = sql.substring("SET ".length()).replace("'", "").split("=");
        flink.getConfig().set(pair[0].strip(), pair[1].strip());
        zone = flink.getConfig().getLocalTimeZone();
      } else if (name == null) {
        flink.executeSql(sql);
      } else {
        try (CloseableIterator<Row> rows = flink.executeSql(sql).collect()) {
          rows.forEachRemaining(row -> System.out.println(shown(row)));
        }
      }
    } catch (Throwable error) {
      Throwable cause = error;
      while (cause.getCause() != null) {
        cause = cause.getCause();
      }
      System.out.println("ERROR " + String.valueOf(cause.getMessage()).split("\n")[0]);
    }
    if (name != null) {
      System.out.println();
    }
  }

  private static String shown(Row row) {
    StringBuilder text = new StringBuilder(row.getKind().shortString());
    for (int i = 0; i < row.getArity(); i++) {
      text.append(i == 0 ? " " : " | ").append(shown(row.getField(i)));
    }
    return text.toString();
  }

  private static String shown(Object value) {
    if (value == null) {
      return "NULL";
    } else if (value instanceof LocalDateTime local) {
      return TIMESTAMP.format(local);
    } else if (value instanceof Instant instant) {
      return INSTANT.format(instant.atZone(zone));
    } else if (value instanceof Double || value instanceof Float) {
      return new BigDecimal(value.toString()).stripTrailingZeros().toPlainString();
    } else if (value instanceof BigDecimal decimal) {
      return decimal.toPlainString();
    } else if (value instanceof Boolean yes) {
      return yes ? "t" : "f";
    }
    return value.toString().isEmpty() ? "(empty)" : value.toString();
  }
}
