package peer;

import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Notes when the client hands records to whoever polls: the same moment as the tap of the Python contenders. */
public final class Deliveries implements ConsumerInterceptor<String, byte[]> {
  static final String STOPWATCH = "race.stopwatch";
  private Stopwatch stopwatch;

  @Override
  public void configure(Map<String, ?> settings) {
    stopwatch = (Stopwatch) settings.get(STOPWATCH);
  }

  @Override
  public ConsumerRecords<String, byte[]> onConsume(ConsumerRecords<String, byte[]> records) {
    if (!records.isEmpty()) {
      stopwatch.deliver(records);
    }
    return records;
  }

  @Override
  public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {}

  @Override
  public void close() {}
}
