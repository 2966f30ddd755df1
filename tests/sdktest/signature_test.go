package sdktest_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// A retry of the Transport has the signature, and the time, of the first attempt. The
// Idempotency-Key that the Transport adds is not signed.
func TestSignatureIsValidInEveryAttempt(t *testing.T) {
	t.Parallel()
	for _, s := range sdks {
		if s.policy.MaxAttempts != 1 {
			continue // it does not sign
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			once := s
			once.client = s.once
			requests, _ := try{policy: retry.Policy{RecordBody: 1 << 20}, fail: busy, call: write}.with(t, once)

			require.Len(t, requests, 3)
			for _, r := range requests {
				requireSigned(t, r)
				require.Equal(t, requests[0].Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Date"))
				require.Equal(t, requests[0].body, r.body)
				require.Equal(t, requests[0].key(), r.key())
				require.NotEmpty(t, r.key())
			}
		})
	}
}

// Without RecordBody, the Transport cannot send the body again.
func TestSignedBodyIsSentOnceUnlessItIsRecorded(t *testing.T) {
	t.Parallel()
	for _, s := range sdks {
		if s.policy.MaxAttempts != 1 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			once := s
			once.client = s.once
			requests, _ := try{fail: busy, call: write}.with(t, once)

			require.Len(t, requests, 1)
		})
	}
}

// All calls of SQS are POST, so the Transport does not retry them without a key.
func TestReadOfSQSIsSentOnceWithoutAKey(t *testing.T) {
	t.Parallel()
	for _, s := range sdks {
		requests := map[string]int{"aws-sdk-go-v2 (sqs)": 1, "minio-go v7": 3}[s.name]
		if requests == 0 {
			continue
		}
		s.client = s.once
		policy := retry.Policy{Keys: retry.KeysCallerOnly, RecordBody: 1 << 20}

		got, _ := try{policy: policy, fail: busy, call: read}.with(t, s)

		require.Len(t, got, requests, s.name)
	}
}

// authorization is the form of AWS4-HMAC-SHA256: KEY/DAY/REGION/SERVICE/aws4_request, the names of
// the signed headers, and the signature.
var authorization = regexp.MustCompile(`Credential=\w+/\d+/([\w-]+)/(\w+)/aws4_request, ?SignedHeaders=([\w;-]+), ?Signature=(\w+)$`)

// signatureOf returns the signature of a request.
func signatureOf(t *testing.T, r *http.Request) (signature, region, service string, signed []string) {
	t.Helper()
	found := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	require.Len(t, found, 5, r.Header.Get("Authorization"))
	return found[4], found[1], found[2], strings.Split(found[3], ";")
}

// requireSigned signs a request again, as the server does, and compares the signatures.
func requireSigned(t *testing.T, r sent) {
	t.Helper()
	signature, region, service, signed := signatureOf(t, r.Request)
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	require.NoError(t, err)
	again, err := http.NewRequestWithContext(t.Context(), r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	require.NoError(t, err)
	for name, values := range r.Header {
		if slices.Contains(signed, strings.ToLower(name)) {
			again.Header[name] = values
		}
	}
	if slices.Contains(signed, "content-length") {
		again.ContentLength = r.ContentLength
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" {
		payload = fmt.Sprintf("%x", sha256.Sum256([]byte(r.body)))
	}
	err = v4.NewSigner().SignHTTP(t.Context(), awsKey, again, payload, service, region, at,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	require.NoError(t, err)
	want, _, _, _ := signatureOf(t, again)
	require.Equal(t, want, signature)
}
