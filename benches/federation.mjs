// A platform that vouches for its workloads, for scripts/bench: ES256, each token to be used once.
//
//     node federation.mjs keys KEY.pem                                       its JWK Set
//     node federation.mjs tokens KEY.pem ISSUER AUDIENCE COUNT REPOSITORIES  tokens, a line each, of repositories in turns
import { createHash, createPrivateKey, createPublicKey, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const [what, keyFile, issuer, audience, count, repositories] = process.argv.slice(2);
const key = createPrivateKey(readFileSync(keyFile));
const { crv, kty, x, y } = createPublicKey(key).export({ format: "jwk" });
const kid = createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");

if (what === "keys") {
  console.log(JSON.stringify({ keys: [{ kty, crv, x, y, kid, use: "sig", alg: "ES256" }] }));
} else {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const header = part({ alg: "ES256", typ: "JWT", kid });
  const now = Math.floor(Date.now() / 1000);
  let lines = [];
  for (let number = 0; number < Number(count); number++) {
    // The next one is far from the last: what was just looked for must not be at hand.
    const repository = `acme/app-${String((number * 7919) % Number(repositories)).padStart(7, "0")}`;
    const claims = {
      iss: issuer, sub: `repo:${repository}:ref:refs/heads/main`, aud: audience, jti: randomUUID(), iat: now, nbf: now,
      exp: now + 3600, repository, repository_owner: "acme", ref: "refs/heads/main", event_name: "push",
      workflow: "release", run_id: String(number),
    };
    const input = `${header}.${part(claims)}`;
    const signature = sign("sha256", input, { key, dsaEncoding: "ieee-p1363" }).toString("base64url");
    lines.push(`${input}.${signature}\n`);
    if (lines.length === 10_000 || number + 1 === Number(count)) {
      process.stdout.write(lines.join(""));
      lines = [];
    }
  }
}
