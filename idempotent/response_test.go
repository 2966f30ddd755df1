package idempotent_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestResponseSurvivesEncoding(t *testing.T) {
	t.Parallel()
	r := idempotent.Response{
		Status:    http.StatusCreated,
		Header:    http.Header{"Location": {"/v1/resources/1"}, "Link": {"<a>", "<b>"}, "Empty": {""}},
		Body:      []byte("\x00body\xff"),
		RequestID: "req_1",
	}

	back, err := idempotent.DecodeResponse(r.Encode())

	require.NoError(t, err)
	require.Equal(t, r, back)
}

func TestEncodeLeavesOutWhatBelongsToOneRequest(t *testing.T) {
	t.Parallel()
	r := idempotent.Response{Status: 200, Header: http.Header{"Set-Cookie": {"a=b"}, "Date": {"now"}, "Etag": {"x"}}}
	back, err := idempotent.DecodeResponse(r.Encode())
	require.NoError(t, err)
	require.Equal(t, http.Header{"Etag": {"x"}}, back.Header)
}

func TestEncodeNeedsAStatus(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, 103, 1000} {
		require.Panics(t, func() { idempotent.Response{Status: status}.Encode() })
	}
}

func TestDamagedRecordIsAnError(t *testing.T) {
	t.Parallel()
	whole := idempotent.Response{Status: 201, Header: http.Header{"A": {"b", "c"}}, Body: []byte("body"), RequestID: "req_1"}.Encode()
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

// damaging returns records that are not what was stored.
type damaging struct {
	idempotent.Store
	record []byte
}

func (d damaging) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	v, err := d.Store.Acquire(ctx, c)
	if v.Response != nil {
		v.Response = d.record
	}
	return v, err
}

func TestDamagedRecordNeverRunsTheHandler(t *testing.T) {
	t.Parallel()
	for name, record := range map[string][]byte{"empty": {}, "garbage": []byte("SECRETBODY garbage garbage"), "zeros": make([]byte, 100)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h counter
			mw := idempotent.New(damaging{memory(), record}, idempotent.Global, nil)(&h)
			call(mw, "k", "")
			again := call(mw, "k", "")
			require.Equal(t, http.StatusInternalServerError, again.Status)
			require.Contains(t, again.Body, "api_error")
			require.NotContains(t, again.Body, "SECRETBODY")
			require.EqualValues(t, 1, h.runs.Load())
		})
	}
}

func FuzzDecodeResponse(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(idempotent.Response{Status: 200}.Encode())
	f.Add(idempotent.Response{Status: 201, Header: http.Header{"A": {"b", "c"}, "B": {""}}, Body: []byte("body"), RequestID: "req_1"}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		// As it comes, and with a checksum that fits, or the fuzzer never gets past it.
		for _, b := range [][]byte{b, idempotent.AppendSum(bytes.Clone(b))} {
			r, err := idempotent.DecodeResponse(b)
			if err != nil {
				continue
			}
			again, err := idempotent.DecodeResponse(r.Encode())
			require.NoError(t, err)
			require.Equal(t, r.Status, again.Status)
			require.Equal(t, r.RequestID, again.RequestID)
			require.True(t, bytes.Equal(r.Body, again.Body))
		}
	})
}
