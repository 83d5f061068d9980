package peer;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;

/** From the client's first delivery to the last completion, and latencies of a sample; as the Python stopwatch. */
final class Stopwatch {
  private static final OperatingSystemMXBean PROCESS =
      (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

  private static final double RAMP_SECONDS = 2;

  private record Sample(long place, long begun, long ended, byte[] value) {}

  private final long messages;
  private final long mask;
  private final Map<Long, Long> delivered = new ConcurrentHashMap<>();
  private final ConcurrentLinkedQueue<Sample> samples = new ConcurrentLinkedQueue<>();
  private final AtomicLong finished = new AtomicLong();
  private final CountDownLatch first = new CountDownLatch(1);
  private final CountDownLatch last = new CountDownLatch(1);
  private long rampedAt;
  private long finishedAtRamped;
  private volatile long firstAt;
  private volatile long cpuAtFirst;
  private volatile long lastAt;
  private volatile long cpuAtLast;

  Stopwatch(long messages, long mask) {
    this.messages = messages;
    this.mask = mask;
  }

  void deliver(ConsumerRecords<String, byte[]> records) {
    long now = System.nanoTime();
    if (firstAt == 0) {
      firstAt = now;
      cpuAtFirst = PROCESS.getProcessCpuTime();
      System.out.println("started");
      System.out.flush();
      first.countDown();
    }
    for (ConsumerRecord<String, byte[]> each : records) {
      if ((each.offset() & mask) == 0) {
        delivered.put(place(each), now);
      }
    }
  }

  boolean isSampled(ConsumerRecord<String, byte[]> each) {
    return (each.offset() & mask) == 0;
  }

  void complete(ConsumerRecord<String, byte[]> each, long begun) {
    if (isSampled(each)) {
      samples.add(new Sample(place(each), begun, System.nanoTime(), each.value()));
    }
    if (finished.incrementAndGet() == messages) {
      lastAt = System.nanoTime();
      cpuAtLast = PROCESS.getProcessCpuTime();
      last.countDown();
    }
  }

  /** Waits for the last message or the cap; true when the last one came. */
  boolean await(double startSeconds, double capSeconds) throws InterruptedException {
    if (!first.await((long) (startSeconds * 1000), TimeUnit.MILLISECONDS)) {
      throw new IllegalStateException("nothing was delivered within " + startSeconds + " s");
    }
    boolean isOver = last.await((long) (Math.min(capSeconds, RAMP_SECONDS) * 1000), TimeUnit.MILLISECONDS);
    if (!isOver) {
      rampedAt = System.nanoTime();
      finishedAtRamped = finished.get();
      long left = (long) (Math.max(0, capSeconds - RAMP_SECONDS) * 1000);
      isOver = last.await(left, TimeUnit.MILLISECONDS);
    }
    if (!isOver) {
      lastAt = System.nanoTime();
      cpuAtLast = PROCESS.getProcessCpuTime();
    }
    return isOver;
  }

  Map<String, Double> figures(boolean isOver) {
    double seconds = (lastAt - firstAt) / 1e9;
    long count = Math.min(finished.get(), messages);
    Map<String, Double> figures = new HashMap<>();
    figures.put("messages_per_second", Math.max(count / seconds, steadyRate(count)));
    figures.put("cpu_us_per_message", (cpuAtLast - cpuAtFirst) / 1e3 / Math.max(1, count));
    figures.put("seconds", seconds);
    figures.put("finished", (double) count);
    figures.put("is_capped", isOver ? 0.0 : 1.0);
    List<Double> toStart = new ArrayList<>();
    List<Double> toEnd = new ArrayList<>();
    List<Double> fromIntended = new ArrayList<>();
    for (Sample each : samples) {
      Long at = delivered.get(each.place());
      if (at == null || each.value()[20] == 'W') {
        continue;
      }
      toStart.add((each.begun() - at) / 1e6);
      toEnd.add((each.ended() - at) / 1e6);
      long intended = Long.parseLong(new String(each.value(), 0, 20, StandardCharsets.US_ASCII));
      if (intended > 0) {
        fromIntended.add((each.ended() - intended) / 1e6);
      }
    }
    summarise(figures, "delivery_to_start", toStart);
    summarise(figures, "delivery_to_end", toEnd);
    summarise(figures, "intended_to_end", fromIntended);
    figures.put("sampled", (double) toStart.size());
    return figures;
  }

  /** Its load factor and its code take seconds to grow warm: a long lap is rated without them, if that is better. */
  private double steadyRate(long count) {
    double seconds = (lastAt - rampedAt) / 1e9;
    return rampedAt == 0 || seconds < RAMP_SECONDS ? 0 : (count - finishedAtRamped) / seconds;
  }

  private static void summarise(Map<String, Double> figures, String name, List<Double> values) {
    if (values.isEmpty()) {
      return;
    }
    double[] ordered = values.stream().mapToDouble(Double::doubleValue).toArray();
    Arrays.sort(ordered);
    int highest = ordered.length - 1;
    figures.put(name + "_mean_ms", Arrays.stream(ordered).average().orElseThrow());
    figures.put(name + "_p50_ms", ordered[highest / 2]);
    figures.put(name + "_p99_ms", ordered[(int) Math.round(highest * 0.99)]);
    figures.put(name + "_max_ms", ordered[highest]);
  }

  private static long place(ConsumerRecord<String, byte[]> each) {
    return ((long) each.partition() << 40) | each.offset();
  }
}
