package upstream

import (
	"net/http"
	"slices"
)

type accountJSON struct {
	Type      string `json:"type"`
	Username  string `json:"username"`
	Name      string `json:"name"`
	AvatarURL string `json:"avatar_url"`
	GitHubURL string `json:"github_url"`
}

// account is whom every token belongs to.
var account = accountJSON{
	Type: "organization", Username: "acme", Name: "Acme, Inc.", AvatarURL: "https://github.com/acme.png",
	GitHubURL: "https://github.com/acme",
}

func (s *Server) getAccount(x *exchange) { x.answer(http.StatusOK, account) }

type hardwareJSON struct {
	Name string `json:"name"`
	SKU  string `json:"sku"`
}

var hardware = []hardwareJSON{
	{"CPU", "cpu"}, {"Nvidia T4 GPU", "gpu-t4"}, {"Nvidia L40S GPU", "gpu-l40s"}, {"2x Nvidia L40S GPU", "gpu-l40s-2x"},
	{"Nvidia A100 (80GB) GPU", "gpu-a100-large"}, {"Nvidia H100 GPU", "gpu-h100"},
}

func (s *Server) listHardware(x *exchange) { x.answer(http.StatusOK, hardware) }

func isHardware(sku string) bool {
	return slices.ContainsFunc(hardware, func(h hardwareJSON) bool { return h.SKU == sku })
}
