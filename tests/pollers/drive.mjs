// Asks the documented poller for each line of standard input: {"operations": […]}, and answers with the shares.
import { createInterface } from "node:readline";
import { Breakers } from "./breakers.mjs";

const breakers = new Breakers(process.argv[2]);
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let problem = null;
  try {
    await breakers.poll();
  } catch (error) {
    problem = error.constructor.name;
  }
  const shares = asked.operations.map((operation) => breakers.share(asked.breaker, operation));
  console.log(JSON.stringify({ shares, problem }));
}
breakers.close();
