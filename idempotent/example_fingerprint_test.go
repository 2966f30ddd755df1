package idempotent_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/seawall-go/seawall/idempotent"
)

// A retry may spell its JSON body in another way.
func ExampleFingerprintJSON() {
	options := &idempotent.Options{Fingerprint: idempotent.FingerprintJSON}
	handler := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, options)(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))

	for _, body := range []string{
		`{"amount": 10, "currency": "EUR"}`,
		`{"currency":"EUR","amount":10}`,
		`{"currency":"EUR","amount":99}`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/charges", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "key-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 201
	// 201
	// 409
}

// A browser chooses a new boundary each time that it sends a form with files.
func ExampleFingerprintForm() {
	options := &idempotent.Options{Fingerprint: idempotent.FingerprintForm}
	handler := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, options)(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))

	for _, boundary := range []string{"aaa", "bbb"} {
		body := "--" + boundary + "\r\n" +
			"Content-Disposition: form-data; name=\"photo\"; filename=\"cat.jpg\"\r\n\r\n" +
			"the content of the file\r\n" +
			"--" + boundary + "--\r\n"
		r := httptest.NewRequest(http.MethodPost, "/photos", strings.NewReader(body))
		r.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
		r.Header.Set("Idempotency-Key", "key-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Idempotent-Replayed") == "true")
	}
	// Output:
	// 201 false
	// 201 true
}

// An upload is identified by its Content-Digest, so the handler reads the body directly from
// the client.
func ExampleFingerprintDigest() {
	options := &idempotent.Options{Fingerprint: idempotent.FingerprintDigest}
	handler := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, options)(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body) // to a file, for example
			if err != nil {
				http.Error(w, "the upload failed", http.StatusBadRequest)
				return
			}
			fmt.Fprintf(w, "%d bytes stored", n)
		}))

	video := strings.Repeat("frame", 1000)
	digest := sha256.Sum256([]byte(video))
	for range 2 {
		r := httptest.NewRequest(http.MethodPut, "/videos/1", strings.NewReader(video))
		r.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":")
		r.Header.Set("Idempotency-Key", "key-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Body, w.Header().Get("Idempotent-Replayed") == "true")
	}
	// Output:
	// 5000 bytes stored false
	// 5000 bytes stored true
}

// Two requests are the same if their amounts are, whatever else the form holds.
func ExampleFingerprintOf() {
	amountOnly := func(r *http.Request, body func() ([]byte, error)) (idempotent.Fingerprint, error) {
		b, err := body()
		if err != nil {
			return idempotent.Fingerprint{}, err
		}
		amount, _, _ := strings.Cut(string(b), "&")
		return idempotent.FingerprintOf(r, []byte(amount)), nil
	}
	options := &idempotent.Options{Fingerprint: amountOnly}
	handler := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, options)(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))

	for _, body := range []string{"amount=10&trace=a", "amount=10&trace=b", "amount=11&trace=b"} {
		r := httptest.NewRequest(http.MethodPost, "/charges", strings.NewReader(body))
		r.Header.Set("Idempotency-Key", "key-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 201
	// 201
	// 409
}
