# Only the embedded example makes its own simulations; for one's own data this rule does not exist.
if plan.example_campaign():

    rule example_campaign:
        output:
            plan.example_campaign(),
        log:
            f"{LOGS}/example_campaign.log",
        benchmark:
            f"{LOGS}/example_campaign.benchmark.tsv"
        conda:
            "../../envs/ephysflow.yaml"
        resources:
            plan=str(plan_file),
            mem_mb=1000,
            runtime=10,
        params:
            item=plan.settings("example_campaign"),
            code=plan.code["example_campaign"],
        message:
            "Write the embedded example's circuit and simulations."
        shell:
            "ephysflow example-campaign --plan {resources.plan:q} > {log:q} 2>&1"


# Recorded sessions and simulations make files of the same names, of neurons and of extraction, by rules of their own.
rule campaign:
    input:
        plan.campaign_outputs(),
    message:
        "Extraction and feature tables of all campaigns."


rule select_neurons:
    input:
        lambda wildcards: plan.analysis(wildcards).circuit_inputs(wildcards.circuit),
    output:
        expand(
            "{folder}/circuits/{{circuit}}.{table}.parquet",
            folder=CAMPAIGN,
            table=paths.CIRCUIT_TABLES,
        ),
    log:
        f"{LOGS}/select_neurons/{{campaign}}/{{analysis}}/{{circuit}}.log",
    benchmark:
        f"{LOGS}/select_neurons/{{campaign}}/{{analysis}}/{{circuit}}.benchmark.tsv"
    wildcard_constraints:
        campaign=SIMULATED,
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("select_neurons", *wildcards),
        code=plan.code["select_neurons"],
    message:
        "Choose the neurons of each class ({wildcards.campaign}, {wildcards.analysis})."
    shell:
        "ephysflow select-neurons --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " {wildcards.circuit:q} > {log:q} 2>&1"


rule extract_report:
    input:
        lambda wildcards: plan.analysis(wildcards).extraction_inputs(wildcards.bucket),
    output:
        directory(f"{CAMPAIGN}/extracted/{{bucket}}"),
    log:
        f"{LOGS}/extract_report/{{campaign}}/{{analysis}}/{{bucket}}.log",
    benchmark:
        f"{LOGS}/extract_report/{{campaign}}/{{analysis}}/{{bucket}}.benchmark.tsv"
    wildcard_constraints:
        campaign=SIMULATED,
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=60,
    params:
        item=lambda wildcards: plan.settings("extract_report", *wildcards),
        code=plan.code["extract_report"],
    message:
        "Extract windows and report ({wildcards.campaign}, {wildcards.analysis}, {wildcards.bucket})."
    shell:
        "ephysflow extract-report --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " {wildcards.bucket:q} > {log:q} 2>&1"


rule select_units:
    input:
        lambda wildcards: plan.analysis(wildcards).circuit_inputs(wildcards.circuit),
    output:
        expand(
            "{folder}/circuits/{{circuit}}.{table}.parquet",
            folder=CAMPAIGN,
            table=paths.CIRCUIT_TABLES,
        ),
    log:
        f"{LOGS}/select_units/{{campaign}}/{{analysis}}/{{circuit}}.log",
    benchmark:
        f"{LOGS}/select_units/{{campaign}}/{{analysis}}/{{circuit}}.benchmark.tsv"
    wildcard_constraints:
        campaign=RECORDED,
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("select_units", *wildcards),
        code=plan.code["select_units"],
    message:
        "Choose the units of each class of a session ({wildcards.campaign}, {wildcards.analysis})."
    shell:
        "ephysflow select-units --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " {wildcards.circuit:q} > {log:q} 2>&1"


rule extract_recorded:
    input:
        lambda wildcards: plan.analysis(wildcards).extraction_inputs(wildcards.bucket),
    output:
        directory(f"{CAMPAIGN}/extracted/{{bucket}}"),
    log:
        f"{LOGS}/extract_recorded/{{campaign}}/{{analysis}}/{{bucket}}.log",
    benchmark:
        f"{LOGS}/extract_recorded/{{campaign}}/{{analysis}}/{{bucket}}.benchmark.tsv"
    wildcard_constraints:
        campaign=RECORDED,
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=4000,
        runtime=60,
    params:
        item=lambda wildcards: plan.settings("extract_recorded", *wildcards),
        code=plan.code["extract_recorded"],
    message:
        "Extract windows and spikes of sessions ({wildcards.campaign}, {wildcards.analysis}, {wildcards.bucket})."
    shell:
        "ephysflow extract-recorded --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " {wildcards.bucket:q} > {log:q} 2>&1"


rule publish_repo:
    input:
        lambda wildcards: plan.analysis(wildcards).repo_inputs(),
    output:
        directory(f"{CAMPAIGN}/repo"),
    log:
        f"{LOGS}/publish_repo/{{campaign}}/{{analysis}}.log",
    benchmark:
        f"{LOGS}/publish_repo/{{campaign}}/{{analysis}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("publish_repo", *wildcards),
        code=plan.code["publish_repo"],
    message:
        "Put the extraction tables together ({wildcards.campaign}, {wildcards.analysis})."
    shell:
        "ephysflow publish-repo --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " > {log:q} 2>&1"


rule compute_features:
    input:
        lambda wildcards: plan.analysis(wildcards).computation_inputs(
            wildcards.computation, wildcards.bucket
        ),
    output:
        f"{CAMPAIGN}/computed/{{computation}}/{{bucket}}.zip",
    log:
        f"{LOGS}/compute_features/{{campaign}}/{{analysis}}/{{computation}}/{{bucket}}.log",
    benchmark:
        f"{LOGS}/compute_features/{{campaign}}/{{analysis}}/{{computation}}/{{bucket}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=120,
    params:
        item=lambda wildcards: plan.settings("compute_features", *wildcards),
        code=plan.code["compute_features"],
    message:
        "Compute features ({wildcards.campaign}, {wildcards.analysis}, {wildcards.computation}, {wildcards.bucket})."
    shell:
        "ephysflow compute-features --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " {wildcards.computation:q} {wildcards.bucket:q} > {log:q} 2>&1"


rule publish_features:
    input:
        lambda wildcards: plan.analysis(wildcards).features_inputs(),
    output:
        directory(f"{CAMPAIGN}/features"),
        f"{CAMPAIGN}/exclusions.parquet",
    log:
        f"{LOGS}/publish_features/{{campaign}}/{{analysis}}.log",
    benchmark:
        f"{LOGS}/publish_features/{{campaign}}/{{analysis}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=60,
    params:
        item=lambda wildcards: plan.settings("publish_features", *wildcards),
        code=plan.code["publish_features"],
    message:
        "Name the feature tables and put them together ({wildcards.campaign}, {wildcards.analysis})."
    shell:
        "ephysflow publish-features --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " > {log:q} 2>&1"


rule plot_rasters:
    input:
        lambda wildcards: plan.analysis(wildcards).repo_output(),
    output:
        report(
            f"{CAMPAIGN_PLOTS}/rasters.pdf",
            caption="../report/rasters.rst",
            category="Campaigns",
            subcategory="{campaign}, {analysis}",
        ),
    log:
        f"{LOGS}/plot_rasters/{{campaign}}/{{analysis}}.log",
    benchmark:
        f"{LOGS}/plot_rasters/{{campaign}}/{{analysis}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("plot_rasters", *wildcards),
        code=plan.code["plot_rasters"],
    message:
        "Draw rasters and PSTHs, or traces ({wildcards.campaign}, {wildcards.analysis})."
    shell:
        "ephysflow plot-rasters --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " > {log:q} 2>&1"


rule plot_firing_rates:
    input:
        lambda wildcards: plan.analysis(wildcards).repo_output(),
    output:
        report(
            f"{CAMPAIGN_PLOTS}/firing_rates.pdf",
            caption="../report/firing_rates.rst",
            category="Campaigns",
            subcategory="{campaign}, {analysis}",
        ),
    log:
        f"{LOGS}/plot_firing_rates/{{campaign}}/{{analysis}}.log",
    benchmark:
        f"{LOGS}/plot_firing_rates/{{campaign}}/{{analysis}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("plot_firing_rates", *wildcards),
        code=plan.code["plot_firing_rates"],
    message:
        "Draw firing rates by class and condition ({wildcards.campaign}, {wildcards.analysis})."
    shell:
        "ephysflow plot-firing-rates --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " > {log:q} 2>&1"


rule plot_parameter_sweep:
    input:
        lambda wildcards: plan.analysis(wildcards).features_outputs(),
    output:
        report(
            f"{CAMPAIGN_PLOTS}/parameter_sweep.pdf",
            caption="../report/parameter_sweep.rst",
            category="Campaigns",
            subcategory="{campaign}, {analysis}",
        ),
    log:
        f"{LOGS}/plot_parameter_sweep/{{campaign}}/{{analysis}}.log",
    benchmark:
        f"{LOGS}/plot_parameter_sweep/{{campaign}}/{{analysis}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("plot_parameter_sweep", *wildcards),
        code=plan.code["plot_parameter_sweep"],
    message:
        "Draw features against the parameters that vary ({wildcards.campaign}, {wildcards.analysis})."
    shell:
        "ephysflow plot-parameter-sweep --plan {resources.plan:q} --item {wildcards.campaign:q} {wildcards.analysis:q}"
        " > {log:q} 2>&1"
