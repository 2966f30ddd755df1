package clienttest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

// The page and the service have the same origin: the service does not allow others.
func testBrowser(t *testing.T, app string) {
	t.Parallel()
	service, err := url.Parse(docsapitest.Start(t).URL)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	reports := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/browser.html") })
	mux.Handle("/dist/", http.FileServer(http.Dir(filepath.Join(app, "node_modules/docsapi"))))
	mux.Handle("/v1/", &httputil.ReverseProxy{Transport: transport, Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(service) }})
	mux.Handle("/v1/resources/redirected", http.RedirectHandler("/v1/resources", http.StatusTemporaryRedirect))
	mux.HandleFunc("/v1/resources/broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/v1/resources/endless", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/report", func(_ http.ResponseWriter, r *http.Request) {
		report, _ := io.ReadAll(r.Body)
		reports <- string(report)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	visit(t, server.URL)

	select {
	case report := <-reports:
		require.Equal(t, `InvalidRequestError parameter_missing
first
名前
APIError undefined
docsapi: retrying request
docsapi: retrying request
docsapi: request failed
NetworkError undefined
docsapi: request failed
TimeoutError undefined
AbortError`, report)
	case <-time.After(time.Minute):
		t.Fatal("the page did not report")
	}
}

// visit opens a page in a browser. The browser is killed at the end of the test.
func visit(t *testing.T, url string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "clienttest-") //nolint:usetesting // the browser may still write to it
	require.NoError(t, err)
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-component-update",
		"--remote-debugging-port=0", "--user-data-dir="+profile, url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts further processes
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = os.RemoveAll(profile)
	})
}
