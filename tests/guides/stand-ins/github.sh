# Stands in for GitHub: its issuer, at its own name, and what it gives to a job. Sourced before the guide.
mkdir -p "$GUIDE_DIRECTORY/github"
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=token.actions.githubusercontent.com \
    -addext subjectAltName=DNS:token.actions.githubusercontent.com \
    -addext basicConstraints=critical,CA:FALSE \
    -keyout "$GUIDE_DIRECTORY/github/key.pem" -out "$GUIDE_DIRECTORY/github/certificate.pem" 2> /dev/null
# This network has a name of GitHub's in it, and nothing else.
echo '127.0.0.1 localhost token.actions.githubusercontent.com' > "$GUIDE_DIRECTORY/github/hosts"
mount --bind "$GUIDE_DIRECTORY/github/hosts" /etc/hosts
python3 "$GUIDE_STAND_INS/github.py" "$GUIDE_DIRECTORY/github" > "$GUIDE_DIRECTORY/github/log" 2>&1 &
until (: > /dev/tcp/127.0.0.1/8099) 2> /dev/null; do sleep 0.05; done
# What a job has in its environment, if it may ask for a token.
export ACTIONS_ID_TOKEN_REQUEST_TOKEN=of-the-job ACTIONS_ID_TOKEN_REQUEST_URL='http://127.0.0.1:8099/token?api-version=2.0'
# And what Jeton needs so as to reach it here: it is no address of the internet, and no known authority vouches for it.
export JETON_OUTBOUND__ALLOWED_NETWORKS=127.0.0.0/8 SSL_CERT_FILE="$GUIDE_DIRECTORY/github/certificate.pem"
