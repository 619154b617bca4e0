#!/usr/bin/env bash
# Deploy to an environment. deploy.yml runs this; a person with the rights can run it by hand.
#
#   infrastructure/deploy.sh plan ENVIRONMENT              show what would change; reads only
#   infrastructure/deploy.sh images ENVIRONMENT VERSION    find the images of VERSION, or push build/images/*.tar
#   infrastructure/deploy.sh update ENVIRONMENT            apply; the job is updated in place
#   infrastructure/deploy.sh drain ENVIRONMENT             apply; the job is drained, then started again
set -euo pipefail

action=${1:?ACTION: plan, images, update or drain} environment=${2:?ENVIRONMENT: staging or production}
root=$(cd "$(dirname "$0")/.." && pwd)
images=$root/build/images.tfvars.json
cd "$root/infrastructure"

export TF_IN_AUTOMATION=1 TF_INPUT=0
terraform init -backend-config="environments/$environment.gcs.tfbackend" -reconfigure >/dev/null
mkdir -p "$(dirname "$images")"

reference() { # target: find it under the version's tag, or push its archive; print it by digest
  local name=$registry/$1 archive=$root/build/images/$1.tar digest
  # The first image of a version is kept: tags are immutable, and a second build can have other bytes.
  if ! digest=$(skopeo inspect --format '{{.Digest}}' "docker://$name:$version" 2>/dev/null); then
    skopeo copy --quiet --preserve-digests --digestfile "$archive.digest" \
      "oci-archive:$archive" "docker://$name:$version" >&2
    digest=$(<"$archive.digest")
  fi
  echo "$name@$digest"
}

case $action in
  plan)
    # Keep the running images.
    terraform output -json running_images | jq '{images: .}' >"$images"
    terraform plan -lock=false -var-file="environments/$environment.tfvars" -var-file="$images"
    ;;
  images)
    version=${3:?VERSION: the commit of the images}
    registry=$(terraform output -raw images)
    gcloud auth print-access-token | skopeo login --username oauth2accesstoken --password-stdin "${registry%%/*}"
    launcher=$(reference launcher)
    worker=$(reference worker)
    jq --null-input --arg launcher "$launcher" --arg worker "$worker" \
      '{images: {launcher: $launcher, worker: $worker}}' | tee "$images"
    ;;
  update)
    terraform apply -auto-approve -var-file="environments/$environment.tfvars" -var-file="$images"
    ;;
  drain)
    terraform apply -auto-approve -var-file="environments/$environment.tfvars" -var-file="$images" \
      -replace='google_dataflow_flex_template_job.rescoring[0]'
    ;;
  *)
    echo "deploy: $action is not one of plan, images, update, drain" >&2
    exit 2
    ;;
esac
