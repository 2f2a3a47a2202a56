// Signs and verifies by the library `standardwebhooks`: a line of JSON asks, a line of JSON answers.
import { createInterface } from "node:readline";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const webhook = new Webhook(asked.secret);
  let answer;
  if (asked.act === "sign") {
    answer = { signature: webhook.sign(asked.id, new Date(asked.at_secs * 1000), asked.body) };
  } else {
    try {
      answer = { read: webhook.verify(asked.body, asked.headers) };
    } catch (error) {
      if (!(error instanceof WebhookVerificationError)) throw error;
      answer = { refused: error.message };
    }
  }
  console.log(JSON.stringify(answer));
}
