package otelprom_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long something may take that takes much less.
const patience = time.Minute

// server is a Prometheus server.
type server struct {
	url    string
	client *http.Client
}

// startPrometheus starts a Prometheus server that scrapes jobs, given by their addresses, twice a
// second.
func startPrometheus(t *testing.T, jobs map[string]string) *server {
	t.Helper()
	var config strings.Builder
	config.WriteString("global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n")
	for job, addr := range jobs {
		fmt.Fprintf(&config, "  - {job_name: %s, static_configs: [{targets: ['%s']}]}\n", job, addr)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config.String()), 0o600))
	addr := freeAddr(t)
	output, err := os.Create(filepath.Join(folder, "output"))
	require.NoError(t, err)
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(t, cmd.Start())
	s := &server{url: "http://" + addr, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		output.Close()
		if t.Failed() {
			text, _ := os.ReadFile(output.Name())
			t.Logf("prometheus: %s", text)
		}
	})
	await(t, "Prometheus", func() (any, bool) {
		resp, err := s.client.Get(s.url + "/-/ready")
		if err == nil {
			resp.Body.Close()
		}
		return err, err == nil && resp.StatusCode == http.StatusOK
	})
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// await polls until a condition holds. If it never does, the failure shows what was seen last.
func await(t *testing.T, what string, holds func() (seen any, ok bool)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		seen, ok := holds()
		if ok {
			return
		}
		require.True(t, time.Now().Before(deadline), "waited for %s, saw %v", what, seen)
	}
}

// series is a time series that answers a query.
type series struct {
	labels map[string]string
	points []point
}

type point struct{ at, value float64 }

// at returns the value of a query at a moment.
func (s *server) at(t *testing.T, expr string, when time.Time) []series {
	t.Helper()
	return s.query(t, "query", url.Values{"query": {expr}, "time": {unix(when)}})
}

// during returns the values of a query over some time, two for each second.
func (s *server) during(t *testing.T, expr string, from, to time.Time) []series {
	t.Helper()
	return s.query(t, "query_range", url.Values{"query": {expr}, "start": {unix(from)}, "end": {unix(to)}, "step": {"0.5"}})
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func (s *server) query(t *testing.T, path string, form url.Values) []series {
	t.Helper()
	resp, err := s.client.PostForm(s.url+"/api/v1/"+path, form)
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  json.RawMessage
				Values []json.RawMessage
			}
		}
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", form.Get("query"), answer.Error)
	var all []series
	for _, r := range answer.Data.Result {
		one := series{labels: r.Metric}
		if r.Value != nil {
			r.Values = append(r.Values, r.Value)
		}
		for _, raw := range r.Values {
			var pair [2]any // a number and a string
			require.NoError(t, json.Unmarshal(raw, &pair))
			value, err := strconv.ParseFloat(pair[1].(string), 64)
			require.NoError(t, err)
			if !math.IsNaN(value) && !math.IsInf(value, 0) {
				one.points = append(one.points, point{pair[0].(float64), value})
			}
		}
		all = append(all, one)
	}
	return all
}
