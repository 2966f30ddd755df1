package main

import (
	"context"
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

// do sends a request with an API key. A body is JSON.
func do(ctx context.Context, client *http.Client, method, url, key, body string, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", jsonType)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// call is do with its own connection. It fails the test if there is no answer.
func call(t *testing.T, method, url, key, body string, headers ...string) answer {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := do(t.Context(), client, method, url, key, body, headers...)
	require.NoError(t, err)
	return a
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
