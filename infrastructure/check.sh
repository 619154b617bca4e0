#!/usr/bin/env bash
# Check the infrastructure: format, types, tests with mocked providers, and checkov's rules. Calls no Google API.
#
# The providers come from their registry if it can be reached, else from the runner that TERRAFORM_OFFLINE names. The runner
# takes a folder and commands, and runs them with providers that know the schemas only.
set -euo pipefail

CHECKOV=checkov==3.3.30
root=$(cd "$(dirname "$0")/.." && pwd)
OFFLINE=$(realpath -m "${TERRAFORM_OFFLINE:-$root/../shared/tools/terraform-offline/terraform-offline}")
cd "$root/infrastructure"
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1 TF_CLI_ARGS=-no-color
export TF_REGISTRY_CLIENT_TIMEOUT=10 TF_REGISTRY_DISCOVERY_RETRY=1

quietly() { # run a command, and show its output only if it fails
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

in_order() { # run commands in a folder, with the registry's providers
  local folder=$1 command
  shift
  for command in "$@"; do (cd "$folder" && bash -c "$command"); done
}

init='terraform init -backend=false -input=false'

if ! command -v terraform >/dev/null; then
  echo "infra-check: skipped: terraform is not installed" >&2
  exit 0
fi
terraform fmt -check -recursive -diff .
if timeout 60 bash -c "$init" >/dev/null 2>&1; then
  runner=in_order
elif [[ -x $OFFLINE ]]; then
  runner=$OFFLINE
else
  echo "infra-check: Terraform's registry can't be reached; set TERRAFORM_OFFLINE to the path of a runner with the schemas" >&2
  exit 1
fi
tests='terraform test -filter=tests'
quietly "$runner" . "$init" 'terraform validate' "$tests/deployment.tftest.hcl" \
  "$tests/environments.tftest.hcl -var-file=environments/staging.tfvars" \
  "$tests/environments.tftest.hcl -var-file=environments/production.tfvars"
quietly "$runner" bootstrap "$init" 'terraform validate' 'terraform test'
[[ $runner == in_order ]] && providers="the registry's providers" || providers='providers of schemas only'
echo "terraform: formatted, valid, tests pass, with $providers"

uv=../.venv/bin/uv
if ! quietly "$uv" tool run --python 3.11 "$CHECKOV" --version; then
  echo "checkov: skipped: $CHECKOV can't be installed here" >&2
  exit 0
fi
quietly "$uv" tool run --python 3.11 "$CHECKOV" --directory . --framework terraform,dockerfile \
  --quiet --compact --skip-download
echo "checkov: every rule passes or has an exception with a reason"
