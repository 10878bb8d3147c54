# Fits every data set of a CSV file by lme4, and writes estimates, standard errors and seconds:
# Rscript lme4.R DATA.csv FITS.csv FAMILY NODES FORMULA
suppressPackageStartupMessages(library(lme4))
given <- commandArgs(trailingOnly = TRUE)
# Below the defaults, at which estimates are off by up to 0.0006.
control <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-12, optCtrl = list(rhoend = 1e-9))
data <- read.csv(given[1])
fits <- lapply(split(data, data$set), function(d) {
  start <- proc.time()[["elapsed"]]
  fit <- suppressMessages(suppressWarnings(
    glmer(as.formula(given[5]), data = d, family = given[3], nAGQ = as.integer(given[4]), control = control)
  ))
  seconds <- proc.time()[["elapsed"]] - start
  data.frame(set = d$set[1], t(fixef(fit)), t(sqrt(diag(as.matrix(vcov(fit))))), seconds = seconds)
})
write.csv(do.call(rbind, fits), given[2], row.names = FALSE)
