package pagetest_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror/reference"
)

// catalogs are those of the golden files of package reference.
var catalogs = []string{"builtin", "core", "custom", "hostile"}

var (
	chromium context.Context // the one browser, for chromedp
	server   *httptest.Server
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	mux := http.NewServeMux()
	for _, catalog := range catalogs {
		mux.Handle("/docs/"+catalog, docs(exported(catalog)))
	}
	mux.Handle("/docs/empty", docs([]byte(`{"version": 1, "title": "No errors", "codes": []}`)))
	server = httptest.NewServer((&seawall.Stack{}).Handler(mux))
	defer server.Close()

	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))...)
	defer stop()
	var cancel context.CancelFunc
	chromium, cancel = chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(chromium); err != nil {
		fmt.Fprintln(os.Stderr, "pagetest: Chromium does not start: run make deps:", err)
		return 1
	}
	defer func() { _ = chromedp.Cancel(chromium) }()
	return m.Run()
}

// exported returns the golden export of a catalog.
func exported(catalog string) []byte {
	export, err := os.ReadFile(filepath.Join("..", "..", "apierror", "reference", "testdata", "golden", catalog, "errors.json"))
	if err != nil {
		panic(err)
	}
	return export
}

// docs returns the reference that an export describes.
func docs(export []byte) *reference.Reference {
	r, err := reference.Parse(export, nil)
	if err != nil {
		panic(err)
	}
	return r
}

// A view is how a tab shows a page. The zero value is a light page on a screen of 1280 pixels, with
// JavaScript.
type view struct {
	width    int64
	dark     bool
	print    bool
	noScript bool
}

// A tab shows the page of one catalog.
type tab struct {
	t   *testing.T
	ctx context.Context

	allowed []string // the URLs that it may request
	refuses bool     // the browser may report violations of the page's policy

	mu       sync.Mutex
	requests []string // the URLs that the tab has requested
	problems []string // messages on the console, exceptions and dialogs
}

// open opens the page of a catalog. When the test ends, it checks that the tab has requested
// nothing but the page, and that nothing has gone wrong in it.
func open(t *testing.T, catalog string, v view) *tab {
	t.Helper()
	b := &tab{t: t, allowed: []string{server.URL + "/docs/" + catalog, "data:,"}}
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	b.ctx = ctx
	scheme, media := "light", ""
	if v.dark {
		scheme = "dark"
	}
	if v.print {
		media = "print"
	}
	require.NoError(t, chromedp.Do(ctx))
	b.resize(cmp.Or(v.width, 1280))
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: v.noScript})
	b.visit("/docs/" + catalog)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, problem := range b.problems {
			require.True(t, b.refuses && strings.Contains(problem, "Content Security Policy"), problem)
		}
		for _, url := range b.requests {
			require.Contains(t, b.allowed, url, "it was requested")
		}
	})
	return b
}

// resize sets the width in pixels. A narrow screen is that of a phone.
func (b *tab) resize(width int64) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 844, DeviceScaleFactor: 1, Mobile: width < 600})
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprint("console.", e.Type))
	case *log.EventEntryAdded:
		b.problems = append(b.problems, e.Entry.Text)
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, e.ExceptionDetails.Text)
	case *page.EventJavascriptDialogOpening:
		b.problems = append(b.problems, "a dialog: "+e.Message)
	}
}

// takeProblems returns the problems so far, and forgets them.
func (b *tab) takeProblems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	problems := b.problems
	b.problems = nil
	return problems
}

func (b *tab) visit(path string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(server.URL+path)))
}
