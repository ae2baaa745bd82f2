# ephysflow: from raw electrophysiology to what circuit modelling needs.
# `snakemake -n` plans, `snakemake -c2` runs; see README.md and config/README.md.
from snakemake.utils import min_version

min_version("9.12")


# The example is loaded only when no configuration is given: Snakemake merges files, and somebody's two
# lines must not run the example's other stages.
if not config:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/example.smk"
include: "workflow/rules/recordings.smk"
include: "workflow/rules/efeatures.smk"
include: "workflow/rules/ecephys.smk"
include: "workflow/rules/campaign.smk"
include: "workflow/rules/comparison.smk"
include: "workflow/rules/extracellular.smk"
include: "workflow/rules/plots.smk"
include: "workflow/rules/summary.smk"


localrules:
    all,
    recordings,
    efeatures,
    ecephys,
    campaign,
    comparison,
    publish_repo,
    publish_features,
    extracellular,
    plots,


rule all:
    default_target: True
    input:
        plan.all_outputs(),


onsuccess:
    # what was left out did not stop the run; it must not stay unseen either
    print("\n".join(plan.left_out()))
