package pages

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplace(t *testing.T) {
	const page = "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\nkept\n<!-- end -->\n"
	got, err := Replace(page, "one", "new\n")
	require.NoError(t, err)
	require.Equal(t, "a\n<!-- one -->\nnew\n<!-- end -->\nb\n<!-- two -->\nkept\n<!-- end -->\n", got)
	_, err = Replace(page, "three", "")
	require.EqualError(t, err, "page has no section three: write <!-- three --> and <!-- end -->")
	_, err = Replace("<!-- one -->\n", "one", "")
	require.Error(t, err)
}
