package pagetest_test

import (
	"encoding/json"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// call calls a command of the DevTools protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	require.NoError(b.t, err)
	return result
}

// eval returns the value of a JavaScript expression. The page's policy does not apply to it.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, expression)
	return value
}

// press presses keys.
func (b *tab) press(keys string) {
	b.t.Helper()
	for _, key := range keys {
		down := *kb.Encode(key)[0]
		down.Type = input.DispatchKeyEventTypeKeyDown
		if key >= ' ' || key == '\r' {
			down.Text = string(key) // which is typed, unless the page prevents it
		}
		up := down
		up.Type, up.Text = input.DispatchKeyEventTypeKeyUp, ""
		call(b, input.DispatchKeyEvent, down)
		call(b, input.DispatchKeyEvent, up)
	}
}

// becomes waits until a JavaScript expression is true.
func (b *tab) becomes(expression string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return eval[bool](b, expression) }, 10*time.Second, 10*time.Millisecond, expression)
}

// quote returns a value as JavaScript.
func quote(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// shown returns the codes whose entries are visible.
func (b *tab) shown() []string {
	b.t.Helper()
	return eval[[]string](b, `[...document.querySelectorAll(".entry")].filter((e) => e.checkVisibility()).map((e) => e.id)`)
}
