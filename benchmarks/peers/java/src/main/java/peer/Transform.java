package peer;

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Java's parallel consumer in its transactional mode: each message is written to another topic, and nothing else is done.
 *
 * <p>Arguments: bootstrap servers, source, target, group, milliseconds between commits, threads. It runs until it is
 * killed.
 */
public final class Transform {
  private Transform() {}

  public static void main(String[] arguments) {
    String servers = arguments[0];
    String target = arguments[2];
    String group = arguments[3];
    Map<String, Object> reading = new HashMap<>();
    reading.put("bootstrap.servers", servers);
    reading.put("group.id", group);
    reading.put("auto.offset.reset", "earliest");
    reading.put("enable.auto.commit", "false");
    reading.put("isolation.level", "read_committed");
    Map<String, Object> writing = new HashMap<>();
    writing.put("bootstrap.servers", servers);
    writing.put("transactional.id", group);
    writing.put("linger.ms", "5");
    var options =
        ParallelConsumerOptions.<String, byte[]>builder()
            .consumer(new KafkaConsumer<>(reading, new StringDeserializer(), new ByteArrayDeserializer()))
            .producer(new KafkaProducer<>(writing, new StringSerializer(), new ByteArraySerializer()))
            .ordering(ProcessingOrder.KEY)
            .commitMode(CommitMode.PERIODIC_TRANSACTIONAL_PRODUCER)
            .commitInterval(Duration.ofMillis(Long.parseLong(arguments[4])))
            .maxConcurrency(Integer.parseInt(arguments[5]))
            .build();
    ParallelStreamProcessor<String, byte[]> processor = ParallelStreamProcessor.createEosStreamProcessor(options);
    processor.subscribe(List.of(arguments[1]));
    processor.pollAndProduce(
        context -> {
          var record = context.getSingleConsumerRecord();
          return new ProducerRecord<>(target, record.key(), record.value());
        });
  }
}
