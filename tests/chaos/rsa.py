"""RS256 (RFC 7518 §3.3) with nothing but Python and openssl, which makes the key."""

import hashlib
import re
import subprocess

# DigestInfo of SHA-256 (RFC 8017 §9.2, note 1).
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


class Key:
    """A private key."""

    def __init__(self, path):
        subprocess.run(["openssl", "genrsa", "-out", path, "2048"], check=True, stderr=subprocess.DEVNULL)
        show = ["openssl", "rsa", "-in", path, "-noout", "-text"]
        shown = subprocess.run(show, check=True, capture_output=True, text=True)
        numbers = {
            name: int(re.sub(r"[\s:]", "", digits), 16)
            for name, digits in re.findall(r"^(\w+):\n((?:    [0-9a-f:]+\n)+)", shown.stdout, re.MULTILINE)
        }
        self._p, self._q = numbers["prime1"], numbers["prime2"]
        self._dp, self._dq, self._inverse = numbers["exponent1"], numbers["exponent2"], numbers["coefficient"]
        self._length = (self._p * self._q).bit_length() // 8

    def sign(self, message):
        """The signature of a message."""
        digest = DIGEST_INFO + hashlib.sha256(message).digest()
        padded = b"\x00\x01" + b"\xff" * (self._length - len(digest) - 3) + b"\x00" + digest
        number = int.from_bytes(padded, "big")
        # By the Chinese remainder theorem: a third of the time.
        first, second = pow(number, self._dp, self._p), pow(number, self._dq, self._q)
        signed = second + self._q * ((first - second) * self._inverse % self._p)
        return signed.to_bytes(self._length, "big")
