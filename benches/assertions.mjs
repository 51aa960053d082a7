// Prints client assertions (RFC 7523), a line each, for scripts/bench: ES256 or RS256, each to be used once.
//
//     node assertions.mjs COUNT CLIENT_ID ISSUER KEY.pem
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const [count, clientId, issuer, keyFile] = process.argv.slice(2);
const key = { key: createPrivateKey(readFileSync(keyFile)), dsaEncoding: "ieee-p1363" };
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const alg = key.key.asymmetricKeyType === "rsa" ? "RS256" : "ES256";
const header = part({ alg, typ: "client-authentication+jwt" });
const now = Math.floor(Date.now() / 1000);

let lines = [];
for (let number = 1; number <= Number(count); number++) {
  const claims = { iss: clientId, sub: clientId, aud: issuer, jti: randomUUID(), iat: now, exp: now + 3000 };
  const input = `${header}.${part(claims)}`;
  lines.push(`${input}.${sign("sha256", input, key).toString("base64url")}\n`);
  if (lines.length === 10_000 || number === Number(count)) {
    process.stdout.write(lines.join(""));
    lines = [];
  }
}
