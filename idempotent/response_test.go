package idempotent_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// encode returns a response as stores hold it.
func encode(r idempotent.Response) []byte { return r.Completion(time.Hour).Response }

func TestResponseCompletion(t *testing.T) {
	t.Parallel()
	r := idempotent.Response{
		Status:    http.StatusCreated,
		Header:    http.Header{"Location": {"/v1/resources/1"}, "Link": {"<a>", "<b>"}, "Empty": {""}, "Content-Type": nil},
		Body:      []byte("\x00body\xff"),
		RequestID: "req_1",
	}
	c := r.Completion(time.Hour)
	require.Equal(t, idempotent.StateDone, c.State)
	require.Equal(t, time.Hour, c.Retention)
	got, err := idempotent.DecodeResponse(c.Response)
	require.NoError(t, err)
	require.Equal(t, r, got)
}

func TestEveryStatusIsDecoded(t *testing.T) {
	t.Parallel()
	for status := 200; status <= 999; status++ {
		r := idempotent.Response{Status: status, Header: http.Header{"A": nil}, Body: []byte("x"), RequestID: strings.Repeat("r", status-200)}
		got, err := idempotent.DecodeResponse(encode(r))
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
	for _, status := range []int{0, 103, 199, 1000} {
		require.Panics(t, func() { encode(idempotent.Response{Status: status}) })
	}
}

func TestFieldsThatAreNeverRecorded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Set-Cookie", "Date", "Content-Length", "Request-Id", "X-Request-Id", "Idempotent-Replayed", "Original-Request",
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Access-Control-Allow-Origin", "Ratelimit", "Ratelimit-Policy", "X-Ratelimit-Limit",
		"Trailer:X-Sum", "set-cookie",
	} {
		r := idempotent.Response{Status: http.StatusOK, Header: http.Header{name: {"v"}, "X-Own": {"v"}}}
		got, err := idempotent.DecodeResponse(encode(r))
		require.NoError(t, err)
		require.Equal(t, http.Header{"X-Own": {"v"}}, got.Header, name)
	}
}

func TestDecodeDamagedResponse(t *testing.T) {
	t.Parallel()
	whole := encode(idempotent.Response{
		Status: http.StatusCreated, Header: http.Header{"A": {"b", "c"}}, Body: []byte("body"), RequestID: "req_1",
	})
	for n := range whole {
		_, err := idempotent.DecodeResponse(whole[:n])
		require.Error(t, err, "cut after %d bytes", n)
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[n] ^= 1 << bit
			_, err = idempotent.DecodeResponse(damaged)
			require.Error(t, err, "byte %d, bit %d", n, bit)
		}
	}
}

func TestDecodeInvalidResponse(t *testing.T) {
	t.Parallel()
	// A head holds the status, the request ID, the number of values, and the fields.
	const status = "\xc8\x01" // 200
	stored := func(version byte, length int, head, body string) []byte {
		b := binary.BigEndian.AppendUint32([]byte{version}, uint32(length))
		return idempotent.AppendSum(append(append(b, head...), body...))
	}
	for name, test := range map[string]struct {
		head  string
		whole bool
	}{
		"no fields":                      {status + "\x00\x00", true},
		"a field":                        {status + "\x00\x01" + "s\x01A\x01\x01v", true},
		"a field that is nil":            {status + "\x00\x00" + "s\x01A\x00", true},
		"an added value":                 {status + "\x00\x01" + "a\x01A\x01\x01v", true},
		"a deleted field":                {status + "\x00\x00" + "d\x01A\x00", true},
		"an added field without a value": {status + "\x00\x00" + "a\x01A\x00", false},
		"a deleted field with a value":   {status + "\x00\x01" + "d\x01A\x01\x01v", false},
		"an unknown change of no value":  {status + "\x00\x00" + "x\x01A\x00", false},
		"an unknown change":              {status + "\x00\x01" + "x\x01A\x01\x01v", false},
		"more values than it says":       {status + "\x00\x01" + "s\x01A\x02\x01v\x01v", false},
		"fewer values than it says":      {status + "\x00\x02" + "s\x01A\x01\x01v", false},
		"a value that is not counted":    {status + "\x00\x00" + "s\x01A\x01\x01v", false},
		"a field that is cut":            {status + "\x00\x01" + "s\x01A\x01\x02v", false},
		"a name that is cut":             {status + "\x00\x00" + "s\x02A", false},
		"a name that is cut at a number": {status + "\x00\x00" + "s\x02\x00", false},
		"a field without its number":     {status + "\x00\x00" + "s\x01A", false},
		"a request id that is cut":       {status + "\x02r", false},
		"a status that is too large":     {"\xe8\x07\x00\x00", false},
		"a status that is too small":     {"\xc7\x01\x00\x00", false},
		"a status that is cut":           {"\xc8", false},
		"an endless number":              {strings.Repeat("\xff", 12), false},
		"nothing":                        {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := idempotent.DecodeResponse(stored(1, len(test.head), test.head, "body"))
			if !test.whole {
				require.Error(t, err)
				require.Zero(t, r)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "body", string(r.Body))
			for _, length := range []int{1, len("body") + 1, 1 << 20} {
				_, err = idempotent.DecodeResponse(stored(1, len(test.head)+length, test.head, "body"))
				require.Error(t, err, "the head is %d bytes too long", length)
			}
			_, err = idempotent.DecodeResponse(stored(2, len(test.head), test.head, "body"))
			require.ErrorContains(t, err, "version 2")
		})
	}
}

func TestDamagedRecordNeverRunsTheHandler(t *testing.T) {
	t.Parallel()
	for name, record := range map[string][]byte{"empty": {}, "garbage": []byte("SECRETBODY garbage garbage"), "zeros": make([]byte, 100)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h counter
			mw := idempotent.New(damaged{memory(), record}, idempotent.Global, nil)(&h)
			call(mw, "k", "")
			again := call(mw, "k", "")
			require.Equal(t, http.StatusInternalServerError, again.Status)
			require.Contains(t, again.Body, "api_error")
			require.NotContains(t, again.Body, "SECRETBODY")
			require.EqualValues(t, 1, h.runs.Load())
		})
	}
}

func TestUnkeptResponseKeepsItsLocation(t *testing.T) {
	t.Parallel()
	for length, kept := range map[int]bool{1 << 10: true, 1<<10 + 1: false} {
		location := strings.Repeat("x", length)
		mw := protected(nil, func(w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "created")
		})
		call(mw, "k", "")
		again := call(mw, "k", "").Header["Location"]
		if kept {
			require.Equal(t, []string{location}, again)
		} else {
			require.Nil(t, again)
		}
	}
}

func TestInvalidCompletionError(t *testing.T) {
	t.Parallel()
	err := idempotent.NewMemory(nil).Resolve(t.Context(), idempotent.ID{}, idempotent.Completion{State: idempotent.StateDone})
	require.ErrorContains(t, err, "state done, retention 0s")
	require.ErrorContains(t, err, "[done not_kept absent]")
}

func FuzzDecodeResponse(f *testing.F) {
	for _, seed := range []string{
		"", "\x010000", "\x01\x00\x00\x00\x010", "\x01\x00\x00\x00\x04\xc8\x01\x00\x00",
		"\x01\x00\x00\x00\x14\xc9\x01\x0500000\x03\x01A\x010\x01A\x010\x010\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Add(encode(idempotent.Response{Status: http.StatusOK}))
	f.Add(encode(idempotent.Response{
		Status: http.StatusCreated, Header: http.Header{"A": {"b", "c"}, "B": {""}}, Body: []byte("body"), RequestID: "req_1",
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Also with a valid checksum, which the fuzzer would not find.
		for _, b := range [][]byte{b, idempotent.AppendSum(bytes.Clone(b))} {
			r, err := idempotent.DecodeResponse(b)
			if err != nil {
				continue
			}
			again, err := idempotent.DecodeResponse(encode(r))
			require.NoError(t, err)
			require.Equal(t, r.Status, again.Status)
			require.Equal(t, r.RequestID, again.RequestID)
			require.True(t, bytes.Equal(r.Body, again.Body))
		}
	})
}
