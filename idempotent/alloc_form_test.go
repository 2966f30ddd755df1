package idempotent_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestFormPartsShareOneBufferAlloc(t *testing.T) {
	body := []byte(strings.Repeat("--b\r\n\r\nx\r\n", 1000) + "--b--")
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := idempotent.FingerprintForm(r, func() ([]byte, error) { return body, nil })
	runtime.ReadMemStats(&after)

	require.NoError(t, err)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "32 KiB for each part would be 32 MiB")
}
