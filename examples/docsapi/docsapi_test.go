package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

// answer is a response of the service.
type answer struct {
	status int
	header http.Header
	body   string
}

// call sends a request with an API key. A body is JSON.
func call(t *testing.T, method, url, key, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, string(got)}
}

func decodeAs[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.body), &v), "%s", a.body)
	return v
}

func TestResourceLivesUntilItIsDeleted(t *testing.T) {
	t.Parallel()
	server := docsapitest.Start(t)
	resources := server.URL + "/v1/resources"
	created := call(t, "POST", resources, docsapitest.KeyDemo, `{"name":"first","metadata":{"color":"blue"}}`)
	require.Equal(t, http.StatusCreated, created.status, created.body)
	first := decodeAs[resource](t, created)
	require.Equal(t, "first", first.Name)
	one := server.URL + created.header.Get("Location")

	require.Equal(t, created.body, call(t, "GET", one, docsapitest.KeyReadOnly, "").body)
	renamed := decodeAs[resource](t, call(t, "PATCH", one, docsapitest.KeyDemo, `{"name":"renamed"}`))
	require.Equal(t, resource{ID: first.ID, Name: "renamed", Metadata: map[string]string{"color": "blue"}}, renamed)

	server.Stop()
	server.Restart()
	require.Equal(t, renamed, decodeAs[resource](t, call(t, "GET", one, docsapitest.KeyDemo, "")))

	require.Equal(t, deletion{first.ID, true}, decodeAs[deletion](t, call(t, "DELETE", one, docsapitest.KeyDemo, "")))
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		require.Equal(t, http.StatusNotFound, call(t, method, one, docsapitest.KeyDemo, `{}`).status, method)
	}
}
