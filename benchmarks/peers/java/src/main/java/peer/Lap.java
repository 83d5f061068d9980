package peer;

import com.fasterxml.jackson.databind.JsonNode;
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** One lap of {@code parallel-consumer-core}: made from the plan, run to its end or its cap, and closed. */
final class Lap {
  private static final Duration CLOSE = Duration.ofSeconds(5);

  private final JsonNode plan;
  private final JsonNode settings;
  private final Stopwatch stopwatch;
  private final String work;
  private final double workMs;
  private final int rounds;
  private final double slowFactor;
  private final FileOutputStream journal;

  Lap(JsonNode plan) throws IOException {
    this.plan = plan;
    settings = plan.get("settings");
    stopwatch = new Stopwatch(plan.get("messages").asLong(), plan.get("sample_mask").asLong());
    work = plan.get("work").asText();
    workMs = plan.get("work_ms").asDouble();
    rounds = plan.get("cpu_rounds").asInt();
    slowFactor = plan.get("slow_factor").asDouble();
    String file = plan.get("journal").asText();
    journal = file.isEmpty() ? null : new FileOutputStream(file, true);
  }

  Map<String, Double> run() throws Exception {
    // Keys as strings: arrays of bytes are equal to nothing but themselves, and order by key would be none.
    KafkaConsumer<String, byte[]> client =
        new KafkaConsumer<>(clientSettings(), new StringDeserializer(), new ByteArrayDeserializer());
    var options =
        ParallelConsumerOptions.<String, byte[]>builder()
            .consumer(client)
            .ordering(ProcessingOrder.valueOf(settings.get("ordering").asText()))
            .commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
            .maxConcurrency(settings.get("concurrency").asInt());
    if (settings.has("commit_interval_ms")) {
      options.commitInterval(Duration.ofMillis(settings.get("commit_interval_ms").asLong()));
    }
    if (settings.has("message_buffer_size")) {
      options.messageBufferSize(settings.get("message_buffer_size").asInt());
    }
    if (settings.has("initial_load_factor")) {
      options.initialLoadFactor(settings.get("initial_load_factor").asInt());
      options.maximumLoadFactor(settings.get("initial_load_factor").asInt());
    }
    if (settings.has("batch_size")) {
      options.batchSize(settings.get("batch_size").asInt());
    }
    ParallelStreamProcessor<String, byte[]> processor =
        ParallelStreamProcessor.createEosStreamProcessor(options.build());
    processor.subscribe(List.of(plan.get("topic").asText()));
    if (settings.has("batch_size")) {
      processor.poll(context -> processBatch(context.getConsumerRecordsFlattened()));
    } else {
      processor.poll(context -> process(context.getSingleConsumerRecord()));
    }
    boolean isOver =
        stopwatch.await(plan.get("start_seconds").asDouble(), plan.get("cap_seconds").asDouble());
    Map<String, Double> figures = stopwatch.figures(isOver);
    processor.closeDontDrainFirst(CLOSE);
    return figures;
  }

  private Map<String, Object> clientSettings() {
    Map<String, Object> client = new HashMap<>();
    settings.get("client").fields().forEachRemaining(each -> client.put(each.getKey(), each.getValue().asText()));
    client.put("bootstrap.servers", plan.get("bootstrap_servers").asText());
    client.put("group.id", plan.get("group").asText());
    client.put("auto.offset.reset", "earliest");
    client.put("enable.auto.commit", "false");
    client.put("interceptor.classes", Deliveries.class.getName());
    client.put(Deliveries.STOPWATCH, stopwatch);
    return client;
  }

  private void process(ConsumerRecord<String, byte[]> each) {
    long begun = stopwatch.isSampled(each) ? System.nanoTime() : 0;
    double factor = slowFactor != 1 && each.value()[20] == 'S' ? slowFactor : 1;
    switch (work) {
      case "sleep", "io" -> sleep(workMs * factor);
      case "cpu" -> compute((int) (rounds * factor));
      default -> {}
    }
    if (journal != null) {
      note(each);
    }
    stopwatch.complete(each, begun);
  }

  /** One wait for all records of a batch. */
  private void processBatch(List<ConsumerRecord<String, byte[]>> batch) {
    long begun = System.nanoTime();
    sleep(workMs);
    for (ConsumerRecord<String, byte[]> each : batch) {
      stopwatch.complete(each, begun);
    }
  }

  private static void sleep(double ms) {
    try {
      Thread.sleep((long) ms, (int) ((ms - (long) ms) * 1e6));
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private static void compute(int rounds) {
    try {
      MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
      byte[] digest = "pyrallel".getBytes(StandardCharsets.US_ASCII);
      for (int round = 0; round < rounds; round++) {
        digest = sha256.digest(digest);
      }
    } catch (NoSuchAlgorithmException missing) {
      throw new IllegalStateException(missing);
    }
  }

  private void note(ConsumerRecord<String, byte[]> each) {
    try {
      journal.write((each.partition() + " " + each.offset() + "\n").getBytes(StandardCharsets.US_ASCII));
    } catch (IOException refused) {
      throw new UncheckedIOException(refused);
    }
  }
}
