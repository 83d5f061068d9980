package peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Java's parallel consumer in the race: one line of JSON in is one lap, one line of figures out is its answer.
 *
 * <p>The virtual machine lives for the whole race, so that it is warm; every lap has a consumer of its own.
 */
public final class Peer {
  private Peer() {}

  public static void main(String[] arguments) throws Exception {
    ObjectMapper json = new ObjectMapper();
    BufferedReader plans =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = plans.readLine(); line != null; line = plans.readLine()) {
      JsonNode plan = json.readTree(line);
      Lap lap = new Lap(plan);
      Map<String, Double> figures = lap.run();
      System.out.println("figures:" + json.writeValueAsString(figures));
      System.out.flush();
    }
    System.exit(0);
  }
}
